"""Training data: splits, augmentation and batches, a function of seed, epoch and place alone."""
