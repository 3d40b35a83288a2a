"""Defines how the number of a frame is drawn into its picture, and how it is read back.

The number is a row of 24 square blocks at the top left corner, the most significant bit first, white for 1 and black
for 0. The side of a block is 1/80 of the picture's width (16 px of 1280). A block covers whole macroblocks, so it
survives any encoder. The first frame of a recording has number 0.
"""

import subprocess
from pathlib import Path

BITS = 24
BLOCKS_PER_WIDTH = 80


def filter_chain(rate: int, width: int) -> str:
    """Returns the ffmpeg filters that draw the row of blocks, to be overlaid at 0:0."""
    block = width // BLOCKS_PER_WIDTH
    bit = f"mod(floor(N/pow(2\\,{BITS - 1}-X))\\,2)"
    return (
        f"nullsrc=s={BITS}x1:r={rate},format=gray,geq=lum='255*{bit}',"
        f"scale={BITS * block}:{block}:flags=neighbor,format=yuv420p"
    )


def read_all(video: Path) -> list[int]:
    """Decodes a video and returns the numbers of all its frames, in display order."""
    row = f"crop=w=iw*{BITS}/{BLOCKS_PER_WIDTH}:h=iw/{BLOCKS_PER_WIDTH}:x=0:y=0,scale={BITS}:1:flags=area,format=gray"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", f"file:{video}"]
    command += ["-an", "-vf", row, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]
    ran = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if ran.returncode != 0:
        raise RuntimeError(f"cannot decode {video}: ffmpeg ended with exit code {ran.returncode}")
    rows = ran.stdout
    return [_number(rows[at : at + BITS]) for at in range(0, len(rows), BITS)]


def _number(levels: bytes) -> int:
    return int("".join("1" if level >= 128 else "0" for level in levels), 2)
