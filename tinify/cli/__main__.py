"""``python -m tinify.cli``."""

from tinify.cli import main

main()
