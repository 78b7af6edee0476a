"""Logs of plans, as llama-cpp-python 0.3.36 wrote them, cut to the lines that matter."""

from __future__ import annotations

WINDOWED = """\
print_info: n_swa                 = 64
print_info: n_embd                = 64
print_info: n_head                = 4
print_info: n_ff                  = 128
print_info: vocab type            = BPE
print_info: n_vocab               = 1000
load_tensors:          CPU model buffer size =     0.00 MiB
llama_context: n_seq_max             = 4
llama_context: n_ctx                 = 4096
llama_context: n_ctx_seq             = 4096
llama_context: n_batch               = 2048
llama_context: n_ubatch              = 512
llama_context: flash_attn            = auto
llama_context:        CPU  output buffer size =     0.50 MiB
llama_kv_cache_iswa: creating non-SWA KV cache, size = 4096 cells
llama_kv_cache:        CPU KV buffer size =     0.00 MiB
llama_kv_cache: size =    1.00 MiB (  4096 cells,   1 layers,  4/1 seqs), K (f16):    0.50 MiB, V (f16):    0.50 MiB
llama_kv_cache_iswa: creating     SWA KV cache, size = 768 cells
llama_kv_cache:        CPU KV buffer size =     0.00 MiB
llama_kv_cache: size =    0.56 MiB (   768 cells,   3 layers,  4/1 seqs), K (f16):    0.28 MiB, V (f16):    0.28 MiB
resolve_fused_ops: Flash Attention enabled
sched_reserve:        CPU compute buffer size =     6.02 MiB
llama_get_memory_breakdown: CPU model = 723456 context = 1638400 compute = 6311968 bytes
"""
HYBRID = """\
print_info: n_swa                 = 0
print_info: n_embd                = 128
print_info: n_head                = [0, 2, 0, 2]
print_info: n_ff                  = 256
llama_context: n_seq_max             = 4
llama_context: n_ctx                 = 4096
llama_context: n_ubatch              = 512
llama_context: flash_attn            = disabled
llama_kv_cache: size =    2.00 MiB (  4096 cells,   2 layers,  4/1 seqs), K (f16):    1.00 MiB, V (f16):    1.00 MiB
llama_memory_recurrent:        CPU RS buffer size =     0.50 MiB
llama_memory_recurrent: size =    0.50 MiB (     4 cells,   4 layers,  4 seqs  0 rs_seq), R (f32):    0.50 MiB
sched_reserve:        CPU compute buffer size =     6.27 MiB
llama_get_memory_breakdown: CPU model = 1516032 context = 2621440 compute = 6570048 bytes
"""
ON_GPU = """\
print_info: n_swa                 = 0
print_info: n_embd                = 4096
print_info: n_head                = 32
print_info: n_ff                  = 14336
llama_context: n_seq_max             = 1
llama_context: n_ctx                 = 8192
llama_context: n_ubatch              = 512
llama_context: flash_attn            = enabled
llama_kv_cache: size = 1024.00 MiB (  8192 cells,  32 layers,  1/1 seqs), K (f16):  512.00 MiB, V (f16):  512.00 MiB
llama_get_memory_breakdown: CUDA0 model = 4000000000 context = 1073741824 compute = 300000000 bytes
llama_get_memory_breakdown: CPU_REPACK model = 100000000 context = 0 compute = 0 bytes
llama_get_memory_breakdown: CUDA_Host model = 50000000 context = 0 compute = 20000000 bytes
"""
"""Made by hand from lines of these forms: no GPU has written it."""
