"""Counted randomness: what a run draws for its k-th exposure depends on nothing that came before."""

from hashlib import blake2b

from torch import Generator

SEED_BYTES = 8


def generator_for(seed: int, exposure: int, purpose: str) -> Generator:
    """A fresh CPU generator for one draw of a run.

    Resuming, another world size or another number of workers then cannot change what is trained.
    """
    digest = blake2b(f"{seed}|{exposure}|{purpose}".encode(), digest_size=SEED_BYTES).digest()
    generator = Generator()
    generator.manual_seed(int.from_bytes(digest, "little", signed=True))
    return generator
