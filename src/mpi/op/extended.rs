//! `long double`: where C gives it the 80 bits of x87, they are computed by its instructions, the only
//! thing that rounds as the application's own arithmetic does; elsewhere it is binary128.

#[cfg(target_arch = "x86_64")]
pub(super) use x87::Extended as LongDouble;

#[cfg(not(target_arch = "x86_64"))]
pub(super) use super::quad::Quad as LongDouble;

#[cfg(target_arch = "x86_64")]
mod x87 {
    use std::arch::asm;

    /// Ten bytes of number and six of padding.
    #[derive(Clone, Copy, Debug)]
    #[repr(C, align(16))]
    pub(crate) struct Extended(pub(crate) [u8; 16]);

    /// One instruction on two numbers from memory.
    macro_rules! operation {
        ($name:ident, $instruction:literal) => {
            pub(crate) fn $name(self, other: Self) -> Self {
                let mut result = self;
                // SAFETY: reads two numbers, writes ten bytes of a third, and leaves the register stack
                // as empty as it must be between functions.
                unsafe {
                    asm!(
                        "fld tbyte ptr [{a}]",
                        "fld tbyte ptr [{b}]",
                        $instruction,
                        "fstp tbyte ptr [{r}]",
                        a = in(reg) &raw const self,
                        b = in(reg) &raw const other,
                        r = in(reg) &raw mut result,
                        out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                        out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                        options(nostack)
                    );
                }
                result
            }
        };
    }

    impl Extended {
        operation!(add, "faddp st(1), st");
        operation!(mul, "fmulp st(1), st");

        pub(crate) fn negated(mut self) -> Self {
            self.0[9] ^= 0x80;
            self
        }

        pub(crate) fn less(self, other: Self) -> bool {
            let below: u8;
            // SAFETY: reads two numbers and leaves the register stack empty. The second loaded is on
            // top; "above" is set when it is the greater, and not when either is not a number.
            unsafe {
                asm!(
                    "fld tbyte ptr [{a}]",
                    "fld tbyte ptr [{b}]",
                    "fucomip st, st(1)",
                    "fstp st(0)",
                    "seta {below}",
                    a = in(reg) &raw const self,
                    b = in(reg) &raw const other,
                    below = out(reg_byte) below,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                    options(nostack)
                );
            }
            below != 0
        }
    }
}
