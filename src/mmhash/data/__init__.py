"""Raw data in, one table of images with captions, labels and splits out."""
