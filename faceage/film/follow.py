"""Faces followed from frame to frame through a stretch of a film, up to its cuts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from faceage.faces.align import align, face_transform, resized, side_in_photo
from faceage.faces.detect import Detection, Detector
from faceage.faces.masks import aligned_landmarks
from faceage.faces.register import Register
from faceage.film.compare import sharpness
from faceage.film.cuts import Cuts
from faceage.images import encode_portrait
from faceage.sizes import PORTRAIT_SIZE

DETECT_EVERY = 5
"""Frames. In between, MTCNN's last stage alone looks where the faces were: 5 times as fast."""

VIEW_FRAMES = 50
"""Of so many frames, the one that shows a face best may become one that its latent is found in."""

_LOST = 5
"""Frames for which a face may be hidden and still be followed."""
_SURE = 0.7
"""Confidence at which MTCNN's last stage takes something for a face."""
_SAME = 0.9
"""Correlation with the face that is followed; below, it has changed so much that a new one is followed."""
_OTHER = 0.6
"""Correlation below which what lies there is not the face at all."""


@dataclass(frozen=True)
class Sighting:
    """A face in one frame: `track` its number in the stretch.

    `motion` (2, 3) takes the frame's pixels to an aligned face (of 64) that moves as the film does, to a fraction of a
    pixel, but may lie beside the landmarks more and more.
    """

    frame: int
    track: int
    face: Detection
    motion: np.ndarray


@dataclass(frozen=True)
class View:
    """A good look at a face: what its latent is found from."""

    score: float
    frame: int
    track: int
    face: Detection
    aligned: np.ndarray
    portrait: bytes


@dataclass
class Stretch:
    """What was seen in a stretch: `cuts` are the frames that begin a new shot, `blanks` those of one colour."""

    sightings: list[Sighting] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    blanks: list[int] = field(default_factory=list)
    after: Cuts = field(default_factory=Cuts)
    """What has been shown its frames."""


class _Track:
    """A face that is followed."""

    def __init__(self, number: int, photo: np.ndarray, found: Detection) -> None:
        self.number = number
        self.motion = face_transform(found.landmarks)
        self.face = found
        self.views: dict[int, View] = {}
        self.lost = 0
        self.likeness = 1.0
        """With the face that is followed, in the last frame."""
        self._register = Register(align(photo, self.motion))

    def follow(self, photo: np.ndarray, seen: Detection) -> bool:
        """Go on to the next frame, in which MTCNN's last stage has `seen` something there. False where it is hidden."""
        sure = seen.confidence > _SURE
        start = self.motion
        if sure:
            # As the landmarks moved; how the pixels moved is near that.
            before, now = (square(face_transform(face.landmarks)) for face in (self.face, seen))
            start = (square(self.motion) @ np.linalg.inv(before) @ now)[:2]
        motion, self.likeness = self._register(photo, start)
        likeness = self.likeness
        if likeness < _OTHER:
            motion = start
        self.lost = 0 if sure else self.lost + 1
        if not sure and likeness < _OTHER:
            return False
        self.face = replace(seen, box=_moved(self.face.box, self.motion, motion))
        if not sure:
            self.face = replace(self.face, landmarks=_points(_between(self.motion, motion), self.face.landmarks))
        self.motion = motion
        if sure and likeness < _SAME:
            self._register = Register(align(photo, motion))
        return True

    def look(self, photo: np.ndarray, frame: int) -> None:
        """Keep the view of it in this frame if it is the best for now."""
        transform = face_transform(self.face.landmarks)
        aligned = align(photo, transform)
        score, known = _score(aligned, transform, self.face), self.views.get(frame // VIEW_FRAMES)
        if known is None or score > known.score:
            portrait = encode_portrait(align(photo, resized(transform, PORTRAIT_SIZE), PORTRAIT_SIZE))
            self.views[frame // VIEW_FRAMES] = View(score, frame, self.number, self.face, aligned, portrait)


class Follower:
    """Follows faces with one detector."""

    def __init__(self, detector: Detector, min_face: int | None = None) -> None:
        self._detector = detector
        self._min_face = min_face

    def __call__(self, frames: Iterable[tuple[int, np.ndarray]], before: Stretch | None = None) -> Stretch:
        """The faces of (number, (h, w, 3) uint8) frames, one after the other.

        Where there is a stretch `before`, the first frame is its last one, whose faces go on as tracks 0, 1, ….
        """
        stretch, tracks, ended = Stretch(), list[_Track](), list[_Track]()
        if before is not None:
            stretch.after = replace(before.after)
        for place, (number, photo) in enumerate(frames):
            cut = False
            if place == 0 and before is not None:
                known = [sighting.face for sighting in before.sightings if sighting.frame == number]
                tracks = [_Track(i, photo, face) for i, face in enumerate(known)]
            else:
                cut = stretch.after.before(photo)
                if stretch.after.blank:
                    stretch.blanks.append(number)
            if cut:
                stretch.cuts.append(number)
                ended += tracks
                tracks = []
            seen = self._detector.look_again(photo, [track.face for track in tracks])
            shown = [track for track, face in zip(tracks, seen, strict=True) if track.follow(photo, face)]
            covered = _covered(shown)
            gone = [track for track in tracks if track.lost > _LOST or track in covered]
            lost = len(shown) < len(tracks)
            ended += gone
            tracks, shown = ([track for track in some if track not in gone] for some in (tracks, shown))
            if cut or lost or place % DETECT_EVERY == 0:
                fresh = self._new(photo, tracks, len(tracks) + len(ended))
                tracks += fresh
                shown += fresh
                for track in shown:
                    track.look(photo, number)
            stretch.sightings += [Sighting(number, track.number, track.face, track.motion) for track in shown]
        stretch.views = [view for track in [*ended, *tracks] for view in track.views.values()]
        return stretch

    def _new(self, photo: np.ndarray, tracks: list[_Track], number: int) -> list[_Track]:
        """Faces of the frame that nobody follows; the boxes of the others are set right."""
        faces = self._detector.detect([photo], self._min_face)[0]
        apart = {
            (t, f): _apart(track.face, face)
            for t, track in enumerate(tracks)
            for f, face in enumerate(faces)
            if _apart(track.face, face) < _side(track.face, face) / 2
        }
        known: dict[int, int] = {}
        for t, f in sorted(apart, key=lambda pair: apart[pair]):
            if f not in known and t not in known.values():
                known[f] = t
                tracks[t].face = replace(tracks[t].face, box=faces[f].box)
        new = [face for f, face in enumerate(faces) if f not in known]
        return [_Track(number + i, photo, face) for i, face in enumerate(new)]


def turned(landmarks: np.ndarray) -> float:
    """How far a head with these aligned (5, 2) landmarks is turned: 0 faces the camera, 0.5 looks half aside."""
    left_eye, right_eye, nose, left_mouth, right_mouth = landmarks
    middle = (left_eye + right_eye + left_mouth + right_mouth) / 4
    return float(abs(nose[0] - middle[0]) / max(np.hypot(*(right_eye - left_eye)), 8.0))


def _score(aligned: np.ndarray, transform: np.ndarray, face: Detection) -> float:
    """Large, sharp, sure and from the front."""
    size = min(side_in_photo(transform), PORTRAIT_SIZE)
    front = max(1 - turned(aligned_landmarks(transform, face.landmarks)), 0.0)
    return face.confidence * size * front * np.sqrt(sharpness(aligned))


def _covered(tracks: Sequence[_Track]) -> list[_Track]:
    """Those that have gone over to a face that another one follows, as when somebody passes before them."""
    return [
        min(pair, key=lambda track: track.likeness)
        for pair in combinations(tracks, 2)
        if _apart(pair[0].face, pair[1].face) < _side(pair[0].face, pair[1].face) / 4
    ]


def _apart(one: Detection, other: Detection) -> float:
    return float(np.hypot(*(one.landmarks.mean(0) - other.landmarks.mean(0))))


def _side(one: Detection, other: Detection) -> float:
    """Of the smaller one's box."""
    return float(min(one.box[2:].max(), other.box[2:].max()))


def square(transforms: np.ndarray) -> np.ndarray:
    """(…, 3, 3) for (…, 2, 3)."""
    last = np.broadcast_to([0.0, 0.0, 1.0], (*transforms.shape[:-2], 1, 3))
    return np.concatenate([transforms, last], axis=-2)


def _between(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(2, 3) from pixels of one frame to those of another, for their transforms to one aligned face."""
    return (np.linalg.inv(square(now)) @ square(before))[:2]


def _points(transform: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ transform[:, :2].T + transform[:, 2], np.float32)


def _moved(box: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """The (4,) `box` in the next frame."""
    move = _between(before, now)
    size = box[2:] * np.hypot(*move[:, 0])
    return np.concatenate([_points(move, box[:2] + box[2:] / 2) - size / 2, size]).astype(np.float32)
