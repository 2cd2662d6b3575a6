//! Tensors of the CPU as plain slices: the one place where libtorch's memory is touched directly.

use tch::{Device, Kind, Tensor};

/// Whether [`values`] can show this tensor.
pub(super) fn is_plain(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.kind() == Kind::Float && tensor.is_contiguous()
}

/// The values of a contiguous fp32 tensor of the CPU, in order.
///
/// # Panics
/// For any other tensor.
pub(super) fn values(tensor: &Tensor) -> &[f32] {
    assert!(is_plain(tensor), "contiguous fp32 values of the CPU");
    if tensor.numel() == 0 {
        return &[];
    }
    #[expect(unsafe_code, reason = "libtorch lends its memory as a bare pointer")]
    // SAFETY: checked above to be `numel` floats in a row, which live as long as the borrowed handle.
    // libtorch works on this tensor only when called, on this thread; callers hold no mutable view of
    // another handle to it (see `values_mut`).
    unsafe {
        std::slice::from_raw_parts(tensor.data_ptr().cast(), tensor.numel())
    }
}

/// The bytes of a contiguous fp32 tensor of the CPU, in the order of this machine.
///
/// # Panics
/// For any other tensor.
pub(super) fn bytes(tensor: &Tensor) -> &[u8] {
    let values = values(tensor);
    #[expect(unsafe_code, reason = "the same memory, looked at as bytes")]
    // SAFETY: every byte of a float is initialised, bytes need no alignment, and the length is that of the slice.
    unsafe {
        std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values))
    }
}

/// The values of a contiguous fp32 tensor of the CPU, to be written. Handles share memory: while this
/// view lives, the caller must look at the tensor through nothing else. Autograd does not see what is
/// written, so no graph that is still to be run backward may hold it.
///
/// # Panics
/// For any other tensor.
pub(super) fn values_mut(tensor: &mut Tensor) -> &mut [f32] {
    assert!(is_plain(tensor), "contiguous fp32 values of the CPU");
    if tensor.numel() == 0 {
        return &mut [];
    }
    #[expect(unsafe_code, reason = "libtorch lends its memory as a bare pointer")]
    // SAFETY: as in `values`; the borrowed handle is the only one in use, as the caller is told.
    unsafe {
        std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel())
    }
}
