"""Token ids to batches: order, packing, masking, augmentation and loading."""
