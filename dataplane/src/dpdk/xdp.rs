//! XDP programs, which the AF_XDP driver puts on interfaces: who they are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// bpf(2): `BPF_PROG_GET_FD_BY_ID` and `BPF_OBJ_GET_INFO_BY_FD`.
const PROGRAM_BY_ID: libc::c_int = 13;
const INFO_BY_FD: libc::c_int = 15;
/// Where `struct bpf_prog_info` has the name, how long it is, and how much of the struct we ask for.
const NAME_AT: usize = 64;
const NAME_BYTES: usize = 16;
const INFO_BYTES: usize = NAME_AT + NAME_BYTES;

/// The start of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// The name of a loaded program; at most 15 bytes, as libxdp's `xsk_def_prog`.
///
/// # Errors
/// Without CAP_SYS_ADMIN, or when there is no such program (any more).
pub fn xdp_program_name(id: u32) -> io::Result<String> {
    // Program id, next id, flags.
    let by_id = [id, 0, 0];
    // SAFETY: the kernel reads the twelve bytes of the array, and nothing else.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, PROGRAM_BY_ID, by_id.as_ptr(), size_of_val(&by_id)) };
    let fd = libc::c_int::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = [0_u64; INFO_BYTES / 8];
    let ask = InfoByFd {
        fd: program.as_raw_fd().cast_unsigned(),
        length: u32::try_from(INFO_BYTES).expect("80"),
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel reads the 16 bytes of `ask`, and writes at most `length` bytes to `info`, which has as many. All
    // buffers that `info` could point to are zero in number and address.
    let result = unsafe { libc::syscall(libc::SYS_bpf, INFO_BY_FD, &raw const ask, size_of::<InfoByFd>()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = info[NAME_AT / 8..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_has_no_name() {
        assert!(xdp_program_name(u32::MAX).is_err());
    }
}
