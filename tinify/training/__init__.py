"""The rate-distortion training loop, with data, logs and exact resume."""
