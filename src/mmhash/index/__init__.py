"""Nearest neighbours of binary codes and of real vectors, behind one small interface."""
