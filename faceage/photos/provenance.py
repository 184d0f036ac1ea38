"""What an aged picture's file says of how it was made: the IPTC's digital source type, as XMP, and nothing else.

Readers of metadata, search engines and newsrooms among them, take from it that a picture shows what a trained model
made of somebody. A BMP has no place for it.
"""

from typing import Any

from PIL import PngImagePlugin

_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""The terms and their definitions, as of the release of 2024-10-23, are to be read at this address."""

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{term}</Iptc4xmpExt:DigitalSourceType>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""

_TIFF_XMP = 700
"""The tag of an XMP packet."""

EDITED = _PACKET.format(term=_VOCABULARY + "compositeWithTrainedAlgorithmicMedia").encode()
"""Of photographs that generative AI has edited: aged faces, alone, beside their photos, or in them."""
GENERATED = _PACKET.format(term=_VOCABULARY + "trainedAlgorithmicMedia").encode()
"""Of pictures that generative AI has made, without a photograph in them: the generator's faces."""


def with_xmp(kind: str, packet: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """Pillow's `options` of saving a file of `kind` ("PNG", "JPEG", "WEBP" or "TIFF"), and those that add `packet`.

    Those of another kind stay as they are.
    """
    if kind == "PNG":
        chunks = options.get("pnginfo") or PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
        return {**options, "pnginfo": chunks}
    if kind == "TIFF":
        return {**options, "tiffinfo": {_TIFF_XMP: packet}}
    return {**options, "xmp": packet} if kind in ("JPEG", "WEBP") else options


def gif_with_xmp(content: bytes, packet: bytes) -> bytes:
    """The GIF `content` with `packet` in the application block that is meant for it, which Pillow does not write."""
    flags = content[10]
    # Behind the header and, where there is one, the palette of all frames.
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    # Readers that look for the lengths of blocks find their way out of the text by these bytes.
    trailer = bytes([1, *range(255, -1, -1), 0])
    return content[:start] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + content[start:]
