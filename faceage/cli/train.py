"""`faceage train`: the stages, each resumable, each adding its network to RUN/model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from faceage.cli.console import bar, out, start_backend
from faceage.cli.options import Data, Run, Seed

app = typer.Typer(help="Train the networks, stage by stage.", no_args_is_help=True)

Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs in all [default: the stage's own].")]
BatchSize = Annotated[int, typer.Option(min=2, help="Faces in a step.")]


@app.command()
def recognizer(
    data: Data,
    run: Run,
    people: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photos with a subfolder per person: measure same/different accuracy there."),
    ] = None,
    faces: Annotated[int, typer.Option(min=64, help="Faces that dlib teaches, about 0.07 s each.")] = 16_000,
    epochs: Epochs = None,
    batch_size: BatchSize = 64,
    seed: Seed = 0,
) -> None:
    """Distil the compact recogniser from dlib's network (needs the extra [judge])."""
    from faceage.errors import UsageError

    if people is not None and not people.is_dir():
        raise UsageError(f"--people {people} is no folder", "name a folder with one subfolder of photos per person")

    start_backend()
    from faceage.training.recognizer import RecognizerOptions, train_recognizer

    options = _options(RecognizerOptions, epochs, faces=faces, batch_size=batch_size, seed=seed)
    with bar(faces, " faces", "dlib") as teaching, _steps(options) as shown:
        train_recognizer(data, run, options, people, teaching.update, shown.update)
    _print_score(run, "recognizer")


@app.command()
def age(data: Data, run: Run, epochs: Epochs = None, batch_size: BatchSize = 64, seed: Seed = 0) -> None:
    """Train the age estimator and measure it on the test split."""
    start_backend()
    from faceage.training.age import AgeOptions, train_age

    options = _options(AgeOptions, epochs, batch_size=batch_size, seed=seed)
    with _steps(options) as shown:
        train_age(data, run, options, shown.update)
    _print_score(run, "age_estimator")


@app.command()
def gan(data: Data, run: Run, epochs: Epochs = None, batch_size: BatchSize = 64, seed: Seed = 0) -> None:
    """Train the conditional GAN: generator and discriminator."""
    start_backend()
    from faceage.training.gan import GANOptions, train_gan

    options = _options(GANOptions, epochs, batch_size=batch_size, seed=seed)
    with _steps(options) as shown:
        train_gan(data, run, options, shown.update)


@app.command()
def encoder(data: Data, run: Run, epochs: Epochs = None, batch_size: BatchSize = 64, seed: Seed = 0) -> None:
    """Train the encoder on faces that RUN's generator draws."""
    start_backend()
    from faceage.training.encoder import EncoderOptions, train_encoder

    options = _options(EncoderOptions, epochs, batch_size=batch_size, seed=seed)
    with _steps(options) as shown:
        train_encoder(data, run, options, shown.update)


def _options(kind: Any, epochs: int | None, **values: Any) -> Any:
    """A stage's options, its own number of epochs unless one was given."""
    return kind(**values) if epochs is None else kind(epochs=epochs, **values)


def _steps(options: Any) -> Any:
    return bar(options.epochs * options.steps_per_epoch, " steps", "training")


def _print_score(run: Path, name: str) -> None:
    from faceage.weights import read_card

    out.print_json(data={name: read_card(run / "model")["scores"][name]})
