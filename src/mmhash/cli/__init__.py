"""The command ``mmhash``."""
