"""The terms of the training loss, one formula a function."""
