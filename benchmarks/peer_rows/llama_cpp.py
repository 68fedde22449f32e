"""llama.cpp's own server, from the wheel `xllamacpp`: `python llama_cpp.py GGUF_FILE PORT ANSWERS_AT_ONCE`."""

import os
import sys
import threading

import xllamacpp

if __name__ == "__main__":
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.port, params.n_parallel = int(sys.argv[2]), int(sys.argv[3])
    params.n_ctx = 512 * params.n_parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    server = xllamacpp.Server(params)
    print(server.listening_address, xllamacpp.get_system_info(), flush=True)
    threading.Event().wait()
