"""The terms of the training loss, one formula a function.

A formula is over the rows of one micro batch. Axes before the last two count micro batches: each
has a value of its own, so (k, n, B) gives (k,) where (n, B) gives one number.
"""
