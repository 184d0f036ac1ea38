"""Sizes that networks, files and pictures agree on."""

FACE_SIZE = 64
"""Side of an aligned face in pixels: what the networks of Age-cGAN take and give."""
PORTRAIT_SIZE = 160
"""Side of the same aligned face in pixels where the re-ager draws it: about what the chips of UTKFace have to give."""
LATENT_SIZE = 100
"""z ~ N(0, I) of this many dimensions."""
OFFSET_SIZE = 2048
"""Outputs of G's first dense layer, to which a person's offset is added."""
