"""Real MTCNN on a real portrait."""

import time

import numpy as np
import pytest
from PIL import Image

from faceage.faces.align import TEMPLATE
from faceage.faces.canvas import CANVAS_SIDES, DEFAULT_CANVAS, Letterbox
from faceage.faces.detect import Detection, Detector, _from_row

BLANK = np.full((512, 512, 3), 128, np.uint8)
WIDTH = 85
"""Pixels across the astronaut's face in the photo of 512."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def resized(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


def centre(face: Detection) -> np.ndarray:
    return face.box[:2] + face.box[2:] / 2


@pytest.fixture(scope="module")
def face(detector, astronaut) -> Detection:
    (found,) = detector.detect([astronaut])
    (face,) = found
    return face


def test_the_face_is_found_once_where_it_is(face):
    x, y, width, height = face.box
    assert 160 < x < 200
    assert 40 < y < 80
    assert 70 < width < 110
    assert 90 < height < 130
    assert face.confidence > 0.95
    assert (face.box.dtype, face.landmarks.dtype) == (np.float32, np.float32)


def test_landmarks_are_in_order(face):
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert (face.landmarks > face.box[:2]).all()
    assert (face.landmarks < face.box[:2] + face.box[2:]).all()


@pytest.mark.parametrize("side", [2048, 1050, 300, 160])
def test_other_sizes_of_the_photo_give_the_same_face(detector, astronaut, face, side):
    """1050 is a width that the scale to the canvas takes a hair beyond it."""
    ((found,),) = detector.detect([resized(astronaut, side, side)])
    assert np.abs(found.landmarks * 512 / side - face.landmarks).max() < 0.06 * WIDTH


def test_every_face_of_a_collage_is_found_in_its_place(detector, astronaut):
    head = resized(astronaut[20:220, 120:320], 140, 140)
    corners = np.array([(20, 30), (300, 10), (60, 400), (420, 420), (240, 210)])
    collage = np.full((600, 600, 3), 90, np.uint8)
    for x, y in corners:
        collage[y : y + 140, x : x + 140] = head
    ((alone,),) = detector.detect([head])
    (found,) = detector.detect([collage])
    places = sorted(tuple(centre(face) - centre(alone)) for face in found)
    assert len(places) == 5
    assert np.abs(np.array(places) - sorted(map(tuple, corners))).max() < 10


def test_the_largest_face_comes_first(detector, astronaut):
    head = astronaut[20:220, 120:320]
    collage = np.full((400, 640, 3), 90, np.uint8)
    collage[20:120, 20:120] = resized(head, 100, 100)
    collage[50:350, 150:450] = resized(head, 300, 300)
    collage[150:300, 470:620] = resized(head, 150, 150)
    (found,) = detector.detect([collage])
    widths = [face.box[2] for face in found]
    assert len(widths) == 3
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(("left", "top"), [(200, 0), (0, 90), (190, 80)])
def test_a_face_at_the_edge_has_a_box_inside_the_photo(detector, astronaut, left, top):
    photo = np.ascontiguousarray(astronaut[top:, left:])
    ((found,),) = detector.detect([photo])
    assert (found.box[:2] >= 0).all()
    assert (found.box[:2] + found.box[2:] <= [512 - left, 512 - top]).all()
    assert (found.box[:2] == 0).any()


@pytest.mark.parametrize("pad", [((0, 0), (0, 3000)), ((2000, 0), (0, 0))])
def test_a_face_in_a_strip_is_found_in_its_place(detector, astronaut, face, pad):
    """Most of the canvas is empty, and the face is small on it."""
    ((found,),) = detector.detect([np.pad(astronaut, (*pad, (0, 0)))])
    assert np.abs(centre(found) - centre(face) - [pad[1][0], pad[0][0]]).max() < 10


def test_a_blank_photo_has_no_face(detector):
    assert detector.detect([BLANK]) == [[]]


def test_noise_has_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    assert detector.detect([noise]) == [[]]


def test_no_photos_have_no_faces(detector):
    assert detector.detect([]) == []


def test_neighbours_neither_take_nor_give_faces(detector, astronaut, face):
    found = detector.detect([BLANK, astronaut, BLANK, astronaut, BLANK])
    assert [len(faces) for faces in found] == [0, 1, 0, 1, 0]
    for faces in (found[1], found[3]):
        np.testing.assert_allclose(faces[0].landmarks, face.landmarks, atol=0.5)


def test_neighbours_do_not_decide_between_places_that_look_alike(detector, lfw10):
    names = "Colin_Powell_0003", "George_W_Bush_0002", "George_W_Bush_0008", "Gerhard_Schroeder_0008"
    photos = [np.asarray(Image.open(lfw10 / name[:-5] / f"{name}.jpg")) for name in names]
    for alone, together in zip([detector.detect([photo])[0] for photo in photos], detector.detect(photos), strict=True):
        assert len(alone) == len(together)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.landmarks, other.landmarks)
            np.testing.assert_allclose(one.box, other.box, atol=0.01)


def test_the_order_of_photos_of_all_sizes_does_not_matter(detector, astronaut):
    photos = [resized(astronaut, w, h) for w, h in [(160, 160), (512, 512), (900, 700), (300, 400)]] + [BLANK]
    forward, backward = detector.detect(photos), detector.detect(photos[::-1])[::-1]
    assert [len(faces) for faces in forward] == [1, 1, 1, 1, 0]
    for one, other in zip(forward[:4], backward[:4], strict=True):
        np.testing.assert_allclose(one[0].landmarks, other[0].landmarks, atol=0.5)
        np.testing.assert_allclose(one[0].box, other[0].box, atol=0.5)


@pytest.mark.parametrize(("min_face", "count"), [(16, 1), (40, 1), (70, 1), (110, 0), (400, 0)])
def test_min_face_filters(detector, astronaut, min_face, count):
    (found,) = detector.detect([astronaut], min_face=min_face)
    assert len(found) == count


@pytest.mark.parametrize("min_face", [100, 300])
def test_a_large_min_face_does_not_lose_larger_faces(detector, astronaut, min_face):
    ((found,),) = detector.detect([resized(astronaut, 2048, 2048)], min_face=min_face)
    assert found.box[2] > 300


def test_a_small_min_face_finds_what_is_too_small_otherwise(detector, astronaut):
    photo = np.zeros((1000, 2000, 3), np.uint8)
    photo[400:520, 900:1020] = resized(astronaut, 120, 120)
    assert detector.detect([photo]) == [[]]
    ((found,),) = detector.detect([photo], min_face=16)
    assert np.abs(centre(found) - [952, 427]).max() < 10


@pytest.mark.parametrize("min_face", [None, 16, 20, 60, 500])
@pytest.mark.parametrize(
    ("width", "height"), [(16, 16), (640, 480), (641, 100), (1050, 1050), (3000, 4000), (30_000, 16)]
)
def test_letterbox_holds_the_photo(width, height, min_face):
    box = Letterbox.for_photo(width, height, min_face)
    assert box.side in CANVAS_SIDES
    assert 0 < box.scale <= 2
    assert round(max(width, height) * box.scale) <= box.side


def test_letterbox_takes_no_larger_canvas_than_it_needs():
    sides = {Letterbox.for_photo(longest, 100).side for longest in range(DEFAULT_CANVAS, 12_000)}
    assert sides == {DEFAULT_CANVAS}


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1050, 700), (2000, 333), (100, 90)])
def test_letterbox_maps_back(width, height):
    """A square in the photo's far corner lies on the canvas where the scale says."""
    photo = np.zeros((height, width, 3), np.uint8)
    photo[height * 3 // 4 :, width * 3 // 4 :] = 255
    box = Letterbox.for_photo(width, height)
    canvas = box.draw(photo)
    assert canvas.shape == (box.side, box.side, 3)
    rows, columns = (np.flatnonzero((canvas > 127).any((axis, 2))) for axis in (1, 0))
    found = np.array([columns[0], columns[-1] + 1, rows[0], rows[-1] + 1]) / box.scale
    assert np.abs(found - [width * 3 // 4, width, height * 3 // 4, height]).max() <= 1 / box.scale


def test_letterbox_leaves_a_photo_that_fits_untouched(astronaut):
    canvas = Letterbox.for_photo(512, 512).draw(astronaut)
    np.testing.assert_array_equal(canvas[:512, :512], astronaut)
    assert canvas.sum(dtype=int) == astronaut.sum(dtype=int)


@pytest.mark.parametrize("mirrored", [False, True])
def test_landmarks_that_no_face_has_are_no_face(mirrored):
    """Those of a face with left and right swapped would be cut out of thousands of pixels around it."""
    x, y = (TEMPLATE * 2 + 100).T
    row = np.array([0, 100, 90, 228, 238, 0.99, *(328 - x if mirrored else x), *y])
    assert (_from_row(row, 1.0, (512, 512)) is None) == mirrored


@pytest.fixture(scope="module")
def in_the_distance(astronaut) -> list[np.ndarray]:
    """The astronaut in photos of 2,560×1,920, each time somewhere else: some 21 pixels of her face on the canvas."""
    photos = [np.full((1920, 2560, 3), 110, np.uint8) for _ in range(5)]
    for i, photo in enumerate(photos):
        photo[700 : 700 + 512, 1000 + 37 * i : 1512 + 37 * i] = astronaut
    return photos


def errors(found: list[list[Detection]], face: Detection) -> np.ndarray:
    """How far each one's landmarks are from where they are in the photo of 512, in shares of the face's width."""
    places = [faces[0].landmarks - [1000 + 37 * i, 700] for i, faces in enumerate(found)]
    return np.linalg.norm(places - face.landmarks, axis=2).mean(1) / WIDTH


def test_landmarks_of_a_small_face_are_those_of_the_photo_not_of_its_canvas(detector, in_the_distance, face):
    reduced = [resized(photo, 640, 480) for photo in in_the_distance]
    by_canvas = detector.detect(reduced, factors=[4] * len(reduced))
    found = detector.detect(in_the_distance)
    refined = [detector.refine(photo, faces) for photo, faces in zip(in_the_distance, by_canvas, strict=True)]
    assert errors(found, face).mean() < 0.75 * errors(by_canvas, face).mean()
    assert errors(refined, face).mean() < 0.75 * errors(by_canvas, face).mean()
    for faces, before in zip(refined, by_canvas, strict=True):
        np.testing.assert_array_equal(faces[0].box, before[0].box)


def test_refining_leaves_what_the_photo_shows_no_better(detector, astronaut, face):
    assert detector.refine(astronaut, [face]) == [face]
    half = resized(astronaut, 256, 256)
    assert detector.refine(half, [face], factor=2) == [face]
    assert detector.refine(astronaut, []) == []


@pytest.mark.parametrize(
    "answer", [np.full(10, np.nan), np.zeros(10), np.r_[0.8, 0.2, 0.5, 0.7, 0.3, 0.3, 0.3, 0.5, 0.7, 0.7]]
)
def test_refining_keeps_landmarks_where_the_new_ones_are_no_faces(detector, in_the_distance, monkeypatch, answer):
    ((there,),) = detector.detect(in_the_distance[:1])
    answers = None, answer[None], np.array([[0.0, 1.0]])
    monkeypatch.setattr(detector._mtcnn.stages[-1], "_model", lambda patches: answers)
    assert detector.refine(in_the_distance[0], [there]) == [there]


@pytest.fixture(scope="module")
def heads(detector, lfw10) -> list[tuple[np.ndarray, float]]:
    """A photo of each of ten people, and how long their face is in it."""
    photos = [np.asarray(Image.open(min(folder.glob("*.jpg"))).convert("RGB")) for folder in sorted(lfw10.iterdir())]
    return [(photo, float(faces[0].box[3])) for photo, faces in zip(photos, detector.detect(photos), strict=True)]


def crowd(heads, width: int, height: int, face: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Ten people, whose faces are `face` pixels long, before something varied, and the middle of each."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
    photo = np.array(Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC))
    middles = []
    for i, (head, length) in enumerate(heads):
        side = round(250 * face / length)
        x, y = 100 + i * (width - 200) // 10, int(random.integers(0, height - side))
        photo[y : y + side, x : x + side] = resized(head, side, side)
        middles.append(np.array([x, y]) + side / 2)
    return photo, middles


@pytest.mark.parametrize(
    ("width", "height", "face"), [(12_000, 1_600, 145), (12_000, 1_600, 200), (6000, 4000, 100), (3000, 4000, 75)]
)
def test_small_faces_of_a_large_photo_are_found(detector, heads, width, height, face):
    photo, middles = crowd(heads, width, height, face)
    factor = Letterbox.reduction().of(width, height)
    reduced = np.asarray(Image.fromarray(photo).reduce(factor))
    asked = []

    def again(number, reduction):
        asked.append((number, reduction))
        return photo, 1

    (found,) = detector.detect([reduced], factors=[factor], again=again)
    near = [sum(np.abs(centre(one) - middle).max() < face / 2 for one in found) for middle in middles]
    assert max(near) == 1
    assert sum(near) >= 9
    # LFW's photos show somebody else at the edge now and then.
    assert len(found) <= 12
    assert len(asked) <= 1


def test_a_photo_that_cannot_be_decoded_again_is_searched_as_it_is(detector, heads):
    photo, _ = crowd(heads, 12_000, 1_600, 200)
    reduced = np.asarray(Image.fromarray(photo).reduce(4))
    (found,) = detector.detect([reduced], factors=[4], again=lambda number, reduction: None)
    assert len(found) >= 9


def test_a_face_that_the_canvas_shows_is_there_once(detector, astronaut, face):
    photo = np.full((1600, 2400, 3), 110, np.uint8)
    photo[600:1112, 900:1412] = astronaut
    small = resized(astronaut[:250, 100:350], 100, 100)
    photo[100:200, 200:300] = small
    (found,) = detector.detect([photo])
    assert len(found) == 2
    np.testing.assert_allclose(centre(found[0]), centre(face) + np.array([900, 600]), atol=12)
    assert np.abs(centre(found[1]) - [250, 150]).max() < 30


@pytest.mark.slow
def test_photos_without_small_faces_take_little_longer(detector, astronaut, monkeypatch):
    """Processor time of detection, with and without the look for small faces, by turns."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (150, 200, 3), np.uint8)
    photos = [resized(astronaut, 1000, 750), resized(astronaut, 1500, 1500), resized(noise, 1000, 750)]
    seconds = np.zeros((2, len(photos)))
    for _ in range(8):
        for i, photo in enumerate(photos):
            for closer in (0, 1):
                with monkeypatch.context() as patch:
                    if not closer:
                        patch.setattr(Detector, "_small_faces", lambda *arguments: [])
                    started = time.process_time()
                    detector.detect([photo], factors=[4])
                    seconds[closer, i] += time.process_time() - started
    assert (seconds[1] / seconds[0]).max() < 1.5
