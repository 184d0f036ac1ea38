"""`make bench`: the stages of `faceage batch`, and a training step. `beside_recipe.py` compares it with another.

bench.py [PHOTOS]     a folder of photos; without it, the astronaut, moved and scaled into photos of 12 megapixels
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

PHOTOS = 200
REPEATS = 7


def main() -> None:
    from faceage.batch.age_photos import make_task
    from faceage.batch.options import DrawOptions, FindOptions
    from faceage.batch.pipeline import run_batch
    from faceage.batch.plan import choose_photos
    from faceage.model import load_model
    from faceage.model_search import find_model
    from faceage.people.options import OptimiserOptions

    weights = find_model()
    model = load_model(weights)
    steps = OptimiserOptions().steps
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(sys.argv[1]) if len(sys.argv) > 1 else make_photos(Path(folder, "photos"))
        found = choose_photos([photos], Path(folder, "out"))
        started, cpu = time.perf_counter(), sum(os.times()[:4])
        summary = run_batch(make_task(Path(folder, "out"), weights, FindOptions(), DrawOptions()), found)
        whole, cpu = time.perf_counter() - started, sum(os.times()[:4]) - cpu
        again = time_render(model, Path(folder, "out"), Path(folder, "again"))

    print(f"faceage batch: {sum(summary.photos.values())} photos, {summary.faces} faces, {steps} steps each")
    print(f"{'stage':<24}{'seconds':>10}{'faces/s':>10}")
    for stage, seconds in [*summary.seconds.items(), ("whole, start included", whole)]:
        print(f"{stage:<24}{seconds:>10.2f}{summary.faces / seconds:>10.1f}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"(photos are decoded and searched, and people drawn, beside the optimiser; {cores} cores were busy for")
    print(f" {cpu / whole / cores:.0%} of the time, start included)")
    print(f"{'faceage render':<24}{again:>10.2f}{summary.faces / again:>10.1f}")
    drawn = sum(summary.seconds[stage] for stage in ("optimise", "draw"))
    print(f"(render is {drawn / again:.0f} times as fast as batch, start and compilation left out of both)")
    share_of_peak(model)
    compare_generators(model.generator)
    compare_gan_steps()


def time_render(model, aged: Path, out: Path) -> float:
    """Seconds for drawing the faces of a batch again, as it drew them."""
    from faceage.batch.draw import Layout
    from faceage.batch.options import DrawOptions
    from faceage.batch.render import render

    options = DrawOptions.of_latents(aged / "latents.h5")
    render(aged / "latents.h5", model, out / "warm", options, Layout())
    started = time.perf_counter()
    render(aged / "latents.h5", model, out / "timed", options, Layout())
    return time.perf_counter() - started


def share_of_peak(model) -> None:
    """How much of what the machine multiplies at best the optimiser multiplies."""
    import keras

    from faceage.backend import compile_step, fastest_dtype
    from faceage.people.optimise import LatentOptimiser
    from faceage.people.options import OptimiserOptions

    matrix = keras.ops.convert_to_tensor(np.random.default_rng(0).standard_normal((4096, 4096), np.float32))
    dtype = keras.DTypePolicy(fastest_dtype()).compute_dtype
    matrix = keras.ops.cast(matrix, dtype)
    # What is timed ends in one number, so that nothing but the product takes time.
    multiply = compile_step(lambda a: keras.ops.cast(keras.ops.matmul(a, a)[0, 0], "float32"))
    peak = 2 * 4096**3 / min(_seconds(lambda: multiply(matrix)) for _ in range(REPEATS))

    options = OptimiserOptions()
    optimiser = LatentOptimiser(model.fast, options)
    faces = np.random.default_rng(0).integers(0, 256, (optimiser.batch_size, 64, 64, 3), np.uint8)
    optimiser(faces)
    seconds = min(_seconds(lambda: optimiser(faces)) for _ in range(3))
    # Forward, and back to the input with the weights left alone; the age estimator looks at every other step.
    each = products(model.generator) + products(model.recognizer) + products(model.age_estimator) / 2
    done = 2 * 2 * each * options.steps * len(faces) / seconds
    print(f"\noptimiser: {done / 1e9:.0f} of the {peak / 1e9:.0f} GFLOP/s that a {dtype} matrix product reaches here")
    print(f"({done / peak:.0%}; the looks at the photo and at what is kept are not counted as work)")


def products(network) -> int:
    """Multiplications for one face in the layers that have nearly all of them."""
    from faceage.networks.layers import UpsampleConv

    total = 0
    for layer in network._flatten_layers():
        kernel = getattr(layer, "kernel", None)
        if isinstance(layer, UpsampleConv):
            _, height, width, channels = layer.input.shape
            total += height * width * 9 * channels * 4 * layer.filters
        elif kernel is not None:
            total += int(np.prod(kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
    return total


def make_photos(folder: Path) -> Path:
    """12-megapixel photos of the astronaut at many places and sizes, so that no two are alike."""
    import skimage

    portrait = Image.fromarray(skimage.data.astronaut())
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(PHOTOS):
        side = int(random.integers(1500, 3001))
        photo = Image.new("RGB", (4000, 3000), tuple(int(v) for v in random.integers(0, 255, 3)))
        photo.paste(
            portrait.resize((side, side)), (int(random.integers(0, 4000 - side)), int(random.integers(-100, 1)))
        )
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
