"""Triton kernels, one file per accelerated op; arrives through the plugin group like any other package."""
