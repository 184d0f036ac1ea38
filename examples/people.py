"""Draw the example portraits: people who do not exist, by our own generator, enlarged and set on a plain background.

    python examples/people.py FOLDER SEED:CLASS [SEED:CLASS …]

A seed makes a person, the class (0 to 5) their age.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from faceage.model import load_network, read_card
from faceage.model_search import find_model
from faceage.people.samples import sample_faces

FACE_SIDE, MARGIN = 320, 60

folder = Path(sys.argv[1])
model = find_model()
generator = load_network(model, read_card(model), "generator")
for person in sys.argv[2:]:
    seed, age_class = map(int, person.split(":"))
    face = Image.fromarray(sample_faces(generator, 1, seed)[0, age_class])
    background = tuple(int(v) for v in np.median(np.asarray(face)[:4].reshape(-1, 3), axis=0))
    picture = Image.new("RGB", (FACE_SIDE + 2 * MARGIN, FACE_SIDE + 2 * MARGIN), background)
    picture.paste(face.resize((FACE_SIDE, FACE_SIDE), Image.Resampling.BICUBIC), (MARGIN, MARGIN))
    picture.save(folder / f"person-{seed}.jpg", quality=92)
