//! How much hugepage memory the kernel could give us right now.

use std::fs;
use std::path::Path;

const DIRECTORY: &str = "/sys/kernel/mm/hugepages";

/// Free memory in MB over all page sizes, pages the kernel would add on demand (overcommit) included.
/// Zero when the kernel has no hugepages or hides them, as containers do.
pub(super) fn free_mb() -> u64 {
    let Ok(sizes) = fs::read_dir(DIRECTORY) else {
        return 0;
    };
    sizes.flatten().map(|size| free_kb(&size.path())).sum::<u64>() / 1024
}

/// Whether any hugepage exists, used or free.
pub(super) fn any() -> bool {
    let Ok(sizes) = fs::read_dir(DIRECTORY) else {
        return false;
    };
    sizes.flatten().any(|size| {
        let path = size.path();
        number(&path, "nr_hugepages") + number(&path, "nr_overcommit_hugepages") > 0
    })
}

/// Free kB of one page size; `path` ends in a name such as `hugepages-2048kB`.
fn free_kb(path: &Path) -> u64 {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let page_kb = name
        .strip_prefix("hugepages-")
        .and_then(|size| size.strip_suffix("kB"))
        .and_then(|size| size.parse().ok())
        .unwrap_or(0);
    let unreserved = number(path, "free_hugepages").saturating_sub(number(path, "resv_hugepages"));
    let on_demand = number(path, "nr_overcommit_hugepages").saturating_sub(number(path, "surplus_hugepages"));
    page_kb * (unreserved + on_demand)
}

fn number(path: &Path, file: &str) -> u64 {
    fs::read_to_string(path.join(file)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
