"""The number that every drawn frame carries: the one definition of how it is drawn and how it is read back.

At the top left corner stands a row of 24 square blocks, the most significant bit first, white for 1 and black
for 0. A block is 1/80 of the picture's width (16 px of 1280), so it covers whole macroblocks and survives any
encoder. Frame 0 is a recording's first.
"""

import subprocess
from pathlib import Path

BITS = 24
BLOCKS_PER_WIDTH = 80


def drawing(rate: int, width: int) -> str:
    """The ffmpeg filter chain that draws the row, to be laid over the picture at 0:0."""
    block = width // BLOCKS_PER_WIDTH
    bit = f"mod(floor(N/pow(2\\,{BITS - 1}-X))\\,2)"
    return (
        f"nullsrc=s={BITS}x1:r={rate},format=gray,geq=lum='255*{bit}',"
        f"scale={BITS * block}:{block}:flags=neighbor,format=yuv420p"
    )


def read_all(video: Path) -> list[int]:
    """The numbers of all frames of a video, in the order they are shown."""
    row = f"crop=w=iw*{BITS}/{BLOCKS_PER_WIDTH}:h=iw/{BLOCKS_PER_WIDTH}:x=0:y=0,scale={BITS}:1:flags=area,format=gray"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", f"file:{video}"]
    command += ["-an", "-vf", row, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    ran = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if ran.returncode != 0:
        raise RuntimeError(f"ffmpeg cannot decode {video}")
    rows = ran.stdout
    return [_number(rows[at : at + BITS]) for at in range(0, len(rows), BITS)]


def _number(levels: bytes) -> int:
    return int("".join("1" if level >= 128 else "0" for level in levels), 2)
