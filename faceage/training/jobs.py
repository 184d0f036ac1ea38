"""The stages of a training."""

from collections.abc import Mapping
from itertools import takewhile

from faceage.training.age import AgeJob
from faceage.training.encoder import EncoderJob
from faceage.training.gan import GANJob
from faceage.training.identity import IdentityJob
from faceage.training.job import Job
from faceage.training.photo import PhotoJob
from faceage.training.recognizer import RecognizerJob

JOBS: Mapping[str, type[Job]] = {
    job.NAME: job for job in (RecognizerJob, AgeJob, GANJob, EncoderJob, IdentityJob, PhotoJob)
}
"""The stages by name, in training order."""


def makers(network: str, before: str = "") -> list[str]:
    """The stages that make a network, in training order; only those that come before the stage `before`, if named."""
    return [name for name in takewhile(lambda name: name != before, JOBS) if network in JOBS[name].MAKES]
