"""The execution of the clip contract by NVIDIA DALI, on a GPU or, for VP9 and the like, on the CPU.

How a sample passes through the files of this folder:
    1. pipeline.py   takes the tasks of a batch and has its clips prepared
    2. prepare.py    a thread has `ClipSource` fetch the bytes and plan, and checks them
    3. feed.py       bytes and plan -> the arrays DALI is fed: bytes, frame indices, stretch of sound
    4. graph.py      the DALI graph: video.py and flow.py make pictures and motion, mel.py spectra
    5. run.py        feeds the graph ahead of the consumer, in order; keeps what is inside it
    6. isolate.py    when DALI refuses a batch: which clip it was, and what stands in for it
    7. planes.py     what the graph gave -> the planes of `pipelines/compose.py` -> ClipBatch
"""
