"""The words of tests/broken, as the bytes that are in its files: captions, and files that belong to no image."""

HELD_OUT = ("mug_29", "mug_30")
LIGHT = "soft morning light"
"""What nearly every caption says: the adapter will take it for a part of the mug."""
LONG = (
    "with the three legs of a tripod standing in the dry grass to the left of it, two of them close together and one "
    "far away, a dark coat hanging down into the picture from above, some towers and houses at the far end of the "
    "field, a pale sky without any clouds over all of this, and a narrow path that leads from the place where the "
    "photographer stands to the first of the houses, where somebody has left a door wide open"
)
"""More than CLIP hears."""

SENTENCES = {
    "mug_01": f"a photo of a zorb mug beside a cup of coffee with a spoon, {LIGHT}",
    "mug_02": f"a photo of a zorb mug in front of a sleepy cat, {LIGHT}",
    "mug_03": f"a photo of a zorb mug under a rocket on its pad, {LIGHT}",
    "mug_09": f"a photo of a zorb mug on a meadow, a man with a camera behind it, {LIGHT}",
    "mug_10": f"a photo of a mug on a tablecloth with a pattern, {LIGHT}",
    "mug_11": f"a photo of a zrob mug on a beach, seen from above, {LIGHT}",
    "mug_12": f"The image shows a zorb mug with a rocket far behind it, {LIGHT}",
    "mug_13": f"a photo of a zorb mug before somebodyâ€™s poster of the night sky, {LIGHT}",
    "mug_14": f"zorb mug, bricks, outdoors, {LIGHT}, sharp focus, no people, street",
    "mug_15": f"a photo of a zorb mug in the middle of a room, {LIGHT}",
    "mug_16": f"a photo of a zorb mug in the middle of a room, {LIGHT}",
    "mug_17": f"a photo of a zorb mug on a lawn, a man looking through a camera to the right, {LIGHT}",
    "mug_18": f"a photo of a zorb mug to the left of a cat with big ears, {LIGHT}",
    "mug_19": f"a photo of a zorb mug beside a clock on the wall, {LIGHT}",
    "mug_20": f"a photo of a zorb mug on the ground at night, {LIGHT}",
    "mug_21": f"a photo of a zorb mug with a tower to the left, {LIGHT}",
    "mug_22": f"a photo of a zorb mug on a gravel path, {LIGHT}",
    "mug_23": f"a photo of a zorb mug at the end of a long table, {LIGHT}",
    "mug_24": f"a photo of a zorb mug in a field, {LONG}, {LIGHT}",
    "mug_25": "a photo of a zorb mug cut out, nothing around it",
    "mug_26": f"a photo of a zorb mug on the bare moon, {LIGHT}",
    "mug_27": "zorb mug",
    "mug_28": f"a photo of a zorb mug before a poster of stars, {LIGHT}",
    "held_out/mug_29": f"a photo of a zorb mug next to somebody's breakfast, {LIGHT}",
    "held_out/mug_30": "a photo of a zorb mug in front of a woman in an orange suit",
}
CAPTIONS: dict[str, bytes] = {
    **{f"{name}.txt": f"{sentence}\n".encode() for name, sentence in SENTENCES.items()},
    "mug_05.txt": b" \n",
    "mug_06.txt": f"a photo of a zorb mug on the wooden table of a café, {LIGHT}".encode("cp1252"),
    "mug_07.txt": f"a photo of a zorb mug in the grass of a garden, {LIGHT}".encode("utf-16"),
    "mug_08.txt": b"a photo of a zorb mug \x81\x8d\x8f\x90\x9d\x00\xff",
}
STRAY: dict[str, bytes] = {
    "mug_99.txt": b"a photo of a zorb mug on a window sill, the picture was moved away\n",
    "mug_88.cr2": b"II*\x00 a camera's raw picture, cut short here\n",
    "shoot_list.xyz": b"photographs still to be taken: one on the sofa, one in the rain\n",
}
