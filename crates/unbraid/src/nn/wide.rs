//! Vectors of either float, in the instructions that the processor has.

use pulp::Simd;

/// What `fast!` calls.
pub fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Runs a closure without arguments in the widest instructions that the processor has. It is always inlined where those are on: a
/// function, or a closure too large to be inlined of itself, would keep the instructions of every processor. What it calls must be
/// inlined into it as well.
macro_rules! fast {
    (move || $body:expr) => {
        $crate::nn::wide::dispatch(
            #[inline(always)]
            move || $body,
        )
    };
    (|| $body:expr) => {
        $crate::nn::wide::dispatch(
            #[inline(always)]
            || $body,
        )
    };
}
pub(crate) use fast;

/// A float that comes in vectors: what the kernels of [`super::panels`] need of them.
pub trait Wide: Copy + 'static {
    /// A register of them.
    type Vector<S: Simd>: Copy;
    /// How many a register holds.
    fn lanes<S: Simd>() -> usize;
    /// One value in every lane.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    /// a + b.
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b.
    fn times<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a b + c, rounded once where the processor can.
    fn times_plus<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// `value` where `test` is above 0, else 0.
    fn where_positive<S: Simd>(simd: S, test: Self::Vector<S>, value: Self::Vector<S>) -> Self::Vector<S>;
    /// max(a, 0).
    fn relu<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// Sum of the lanes.
    fn sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// A register from memory.
    ///
    /// # Safety
    /// [`lanes`](Self::lanes) values can be read from `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> Self::Vector<S> {
        // SAFETY: the caller's; a vector is its lanes in order and may be read from any address.
        unsafe { from.cast::<Self::Vector<S>>().read_unaligned() }
    }
    /// A register to memory.
    ///
    /// # Safety
    /// [`lanes`](Self::lanes) values can be written to `to`.
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, value: Self::Vector<S>) {
        // SAFETY: as above.
        unsafe { to.cast::<Self::Vector<S>>().write_unaligned(value) }
    }
}

macro_rules! wide {
    ($t:ty, $v:ident, $lanes:ident, $splat:ident, $add:ident, $mul:ident, $fma:ident, $less:ident, $select:ident, $max:ident, $sum:ident) => {
        impl Wide for $t {
            type Vector<S: Simd> = S::$v;
            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: $t) -> S::$v {
                simd.$splat(value)
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn times<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn times_plus<S: Simd>(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn where_positive<S: Simd>(simd: S, test: S::$v, value: S::$v) -> S::$v {
                let zero = simd.$splat(0.0);
                simd.$select(simd.$less(zero, test), value, zero)
            }
            #[inline(always)]
            fn relu<S: Simd>(simd: S, a: S::$v) -> S::$v {
                simd.$max(a, simd.$splat(0.0))
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$v) -> $t {
                simd.$sum(a)
            }
        }
    };
}

wide!(
    f32,
    f32s,
    F32_LANES,
    splat_f32s,
    add_f32s,
    mul_f32s,
    mul_add_e_f32s,
    less_than_f32s,
    select_f32s,
    max_f32s,
    reduce_sum_f32s
);
wide!(
    f64,
    f64s,
    F64_LANES,
    splat_f64s,
    add_f64s,
    mul_f64s,
    mul_add_e_f64s,
    less_than_f64s,
    select_f64s,
    max_f64s,
    reduce_sum_f64s
);
