"""Copy a public-domain portrait that scikit-image carries, NASA's photo of Eileen Collins, into a folder."""

import sys
from pathlib import Path

import skimage
from PIL import Image

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
Image.fromarray(skimage.data.astronaut()).save(folder / "astronaut.jpg", quality=95)
