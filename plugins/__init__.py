"""First-party plugin families."""
