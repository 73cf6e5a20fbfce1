"""The embedded sample: a small synthetic COCO drawn by this package."""
