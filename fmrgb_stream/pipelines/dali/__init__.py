"""The execution of the clip contract by NVIDIA DALI, on a GPU or, for VP9 and the like, on the CPU.

How a sample passes through the files of this folder:
    1. pipeline.py   takes the tasks of a batch and has its clips prepared by crew.py
    2. prepare.py    a thread has `ClipSource` fetch the bytes and plan
    3. precheck.py   what DALI would decode wrongly goes to the host; host_log.py says so
    4. sound.py      the stretch of sound that the clip needs, decoded on the host
    5. feed.py       bytes and plan -> the arrays DALI is fed: bytes, frame indices, sound
    6. graph.py      the DALI graph: video.py and flow.py make pictures and motion, mel.py spectra
    7. run.py        feeds the graph ahead of the consumer, in order; keeps what is inside it
    8. isolate.py    when DALI refuses a batch: which clip it was, and what stands in for it
    9. planes.py     what the graph gave -> the planes of `pipelines/compose.py` -> ClipBatch
Before: probe.py tries the flow engine, calibrate.py the decoders; agree.py makes ranks choose alike.
"""
