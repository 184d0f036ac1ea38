"""`make bench`: how fast each stage of `faceage batch` and a training step are, and what folding the up-sampling gains.

bench.py [PHOTOS]     a folder of photos; without it, the example portraits, moved and scaled into 64 photos
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from PIL import Image

PHOTOS = 64
REPEATS = 7


def main() -> None:
    from faceage.batch.pipeline import run_batch
    from faceage.batch.plan import BatchOptions, make_plan
    from faceage.weights import find_model, fingerprint, load_model, read_card

    with tempfile.TemporaryDirectory() as folder:
        photos = Path(sys.argv[1]) if len(sys.argv) > 1 else make_photos(Path(folder, "photos"))
        weights = find_model()
        plan = make_plan([photos], Path(folder, "out"), BatchOptions(), fingerprint(read_card(weights)))
        started = time.perf_counter()
        summary = run_batch(weights, plan)
        whole = time.perf_counter() - started

    print(f"faceage batch: {sum(summary.photos.values())} photos, {summary.faces} faces")
    print(f"{'stage':<24}{'seconds':>10}{'faces/s':>10}")
    for stage, seconds in [*summary.seconds.items(), ("whole, start included", whole)]:
        print(f"{stage:<24}{seconds:>10.2f}{summary.faces / seconds:>10.1f}")
    print("(photos are decoded while the other stages are at work)")
    compare_generators(load_model(weights).generator)
    compare_gan_steps()


def make_photos(folder: Path) -> Path:
    """Photos of the astronaut at many places and sizes, so that no two are alike."""
    import skimage

    portrait = Image.fromarray(skimage.data.astronaut())
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(PHOTOS):
        side = int(random.integers(256, 513))
        photo = Image.new("RGB", (640, 480), tuple(int(v) for v in random.integers(0, 255, 3)))
        photo.paste(portrait.resize((side, side)), (int(random.integers(0, 640 - side)), int(random.integers(-30, 1))))
        photo.save(folder / f"{i:03d}.jpg", quality=92)
    return folder


def compare_generators(folded) -> None:
    """Both generators by turns, so that whatever else the machine does falls on both."""
    from plain_generator import plain_generator

    from faceage.backend import compile_step
    from faceage.networks.generator import generator

    random = np.random.default_rng(0)
    latents = random.standard_normal((64, 100), dtype=np.float32)
    ages = np.eye(6, dtype=np.float32)[random.integers(0, 6, 64)]
    print(f"\n{'generator, batch 64':<24}{'plain/s':>10}{'folded/s':>10}{'ratio':>8}")
    for dtype in ("float32", "mixed_bfloat16"):
        network = generator(dtype)
        network.set_weights(folded.get_weights())
        plain = plain_generator(network)
        steps = [compile_step(lambda z, y, net=net: net([z, y], training=False)) for net in (plain, network)]
        difference = np.abs(np.asarray(steps[0](latents, ages)) - np.asarray(steps[1](latents, ages))).max()
        times = np.array([[_seconds(lambda step=step: step(latents, ages)) for step in steps] for _ in range(REPEATS)])
        plain_time, folded_time = np.median(times, axis=0)
        ratio = np.median(times[:, 0] / times[:, 1])
        print(
            f"{dtype:<24}{64 / plain_time:>10.0f}{64 / folded_time:>10.0f}{ratio:>8.2f}"
            f"   largest difference {difference:.1e}"
        )


def compare_gan_steps() -> None:
    """The GAN's training step as it is against the plain one: up-sampling before each convolution, and float32."""
    from plain_generator import plain_generator
    from tiny_training import face_set

    from faceage.data.dataset import FaceBatches
    from faceage.networks.discriminator import discriminator
    from faceage.networks.generator import generator
    from faceage.training.gan import GAN, GANOptions

    def gan(dtype: str, plain: bool) -> GAN:
        network = generator(dtype)
        stage = GAN(plain_generator(network) if plain else network, discriminator(dtype), generator(), GANOptions())
        stage.compile()
        return stage

    kinds = {"plain, float32": ("float32", True), "folded, float32": ("float32", False)}
    kinds["folded, mixed_bfloat16"] = ("mixed_bfloat16", False)
    gans = [gan(*kind) for kind in kinds.values()]
    batch = FaceBatches(face_set(256), 64, 1)[0]

    def steps(stage: GAN) -> None:
        # As many as it takes for every kind of step (gradient penalty, moving average) to have its share.
        for _ in range(16):
            stage.train_on_batch(*batch)

    for stage in gans:
        steps(stage)
    times = np.array([[_seconds(lambda stage=stage: steps(stage)) / 16 for stage in gans] for _ in range(3)])
    print(f"\n{'GAN step, batch 64':<24}{'images/s':>10}{'ratio':>10}")
    for i, name in enumerate(kinds):
        print(f"{name:<24}{64 / np.median(times[:, i]):>10.0f}{np.median(times[:, 0] / times[:, i]):>10.2f}")


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    outcome = call()
    if outcome is not None:
        np.asarray(outcome)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
