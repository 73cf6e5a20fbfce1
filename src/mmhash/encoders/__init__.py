"""SigLIP and SigLIP 2 towers: pictures and captions in, pooled unnormalised vectors out."""
