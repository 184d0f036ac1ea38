"""Age faces in folders of photos with an Age-cGAN."""
