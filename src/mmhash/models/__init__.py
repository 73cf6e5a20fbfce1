"""The methods: a pair of image and text vectors in, codes and class scores out."""
