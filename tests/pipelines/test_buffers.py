"""Memory of batches: used again when nobody sees it, and only then."""

import os
from pathlib import Path

import numpy as np
import pytest

from fmrgb_stream.pipelines.cpu.buffers import Block, BufferPool

NUM_BYTES = 4096


@pytest.fixture(params=[Block.private, Block.shared])
def pool(request):
    return BufferPool(request.param, max_free=2)


def serials(pool, count=1):
    """Serial numbers of blocks that are held together and then given up."""
    blocks = [pool.take(NUM_BYTES) for _ in range(count)]
    return {block.serial for block in blocks}


def test_memory_is_used_again_when_its_array_is_gone(pool):
    first = serials(pool)
    assert serials(pool) == first


def test_memory_is_not_used_again_while_its_array_lives(pool):
    array = pool.take(NUM_BYTES).memory
    array[:] = 7
    pool.take(NUM_BYTES).memory[:] = 9
    assert (array == 7).all()


def test_no_more_blocks_are_kept_than_allowed(pool):
    first = serials(pool, 5)
    assert len(serials(pool, 5) & first) == 2


def test_memory_of_another_size_is_let_go(pool):
    serials(pool)
    assert len(pool.take(2 * NUM_BYTES).memory) == 2 * NUM_BYTES


def test_a_closed_pool_keeps_nothing(pool):
    held = pool.take(NUM_BYTES)
    given_up = serials(pool)
    pool.close()
    serial = held.serial
    del held
    assert not serials(pool, 2) & (given_up | {serial})


def test_a_fork_keeps_the_batch_that_it_was_made_with(pool):
    block = pool.take(NUM_BYTES)
    block.memory[:] = 7
    go_in, go_out = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go_in, 1)
        os._exit(0 if (block.memory == 7).all() else 1)
    del block
    pool.take(NUM_BYTES).memory[:] = 9
    os.write(go_out, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(go_in)
    os.close(go_out)


def test_what_is_allocated_later_is_used_again_after_a_fork(pool):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert serials(pool) == serials(pool)


def test_shared_memory_is_the_same_in_another_mapping():
    block = Block.shared(NUM_BYTES)
    block.memory[:] = np.arange(NUM_BYTES) % 251
    file = Path(f"/proc/self/fd/{block.file_descriptor}")
    assert file.read_bytes() == block.memory.tobytes()
