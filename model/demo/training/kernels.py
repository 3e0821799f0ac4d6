"""The training kernels on the CPU, with gradients; kernels.cpp holds the arithmetic.

    kernels = Kernels(cache_folder)      # builds kernels.cpp there, once for each version of it
    kernels.attention(qkv, cos, sin, cores_visible, branch_start, document_tokens, group)
        -> out [B, T, H, d], of qkv's type
    kernels.rms_norm(x, weight, eps, dtype=torch.bfloat16)     -> like x, of that type
    kernels.swiglu(gate_up)                                    -> [..., F], of gate_up's type
    kernels.cross_entropy(logits, target, weight)
        -> (sum of weight * loss, loss of each row, whether each row's largest logit is its target)

`reference.Reference` has the same methods in plain PyTorch.
"""
