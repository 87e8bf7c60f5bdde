//! The tenants' servers, all of them real: nginx, a mail server, vsftpd.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::topology::Nodes;
use crate::lab::{Cmd, Daemon, LabError, Namespace, directory, nginx, write};

/// Size of the file that every server offers as `large`.
pub const LARGE: usize = 4 << 20;

/// Running servers.
pub struct Servers {
    /// Tenant A's web server, 192.0.2.1.
    pub www: Daemon,
    /// Tenant A's mail server, 192.0.2.2; its mail is in the folder `mail`.
    pub mta: Daemon,
    /// Tenant A's FTP server behind the relay on its node, 192.0.2.4.
    pub ftp_a: Daemon,
    /// Tenant B's, behind a network relay, 192.0.2.5.
    pub ftp_b: Daemon,
    /// SHA-256 of the file `large`, in hexadecimal.
    pub sum: String,
    others: Vec<Daemon>,
}

impl Servers {
    /// Starts all of them.
    ///
    /// # Errors
    /// When one does not come up.
    pub(super) fn start(nodes: &Nodes) -> Result<Self, LabError> {
        let www = nginx(nodes.get("www"), "[2001:db8:12:34::1]")?;
        let web = nginx(nodes.get("web"), "[2001:db8:fe:dc::80:1]")?;
        put(www.path(), "Tenant A's www.\n")?;
        put(web.path(), "Tenant B's web 1, behind www-lb.\n")?;
        let balancer = balancer(nodes.get("www-lb"))?;
        let mta = mail(nodes.get("mta"))?;
        let ftp_a = ftp(nodes.get("ftp-a"), "192.0.2.4")?;
        let native = ftp(nodes.get("ftp-a"), "2001:db8:12:34::3")?;
        let ftp_b = ftp(nodes.get("ftp-b"), "192.0.2.5")?;
        let sum = Cmd::new("sha256sum").arg(www.path().join("www/large").display().to_string()).ok()?.stdout;
        let sum = sum.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Self { sum, www, mta, ftp_a, ftp_b, others: vec![web, balancer, native] })
    }

    /// How many processes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        4 + self.others.len()
    }
}

/// The bytes of `large`: no two blocks are the same.
#[must_use]
pub fn large() -> Vec<u8> {
    (0..LARGE / 4)
        .flat_map(|number| u32::try_from(number).unwrap_or(0).wrapping_mul(0x9e37_79b1).to_be_bytes())
        .collect()
}

fn put(root: &Path, page: &str) -> Result<(), LabError> {
    write(root.join("www/index.html"), page)?;
    fs::write(root.join("www/large"), large()).map_err(LabError::io("large"))
}

/// Tenant B's www-lb: passes everything on to its web servers.
fn balancer(namespace: &Namespace) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let root = directory.path().display().to_string();
    let text = format!(
        "daemon off; worker_processes 1; user root; pid {root}/pid; error_log stderr warn;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n  access_log {root}/access.log; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n  \
         fastcgi_temp_path {root}/fastcgi; uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n  \
         server {{ listen [2001:db8:fe:dc::1]:80;\n    location / {{ proxy_pass http://[2001:db8:fe:dc::80:1]; \
         proxy_set_header X-Forwarded-For $remote_addr; }} }}\n}}\n"
    );
    let file = write(directory.path().join("nginx.conf"), &text)?;
    let command = namespace.cmd("nginx").args("-e stderr -c").arg(file.display().to_string());
    let mut daemon = Daemon::start("www-lb", &command, directory)?;
    listening(&mut daemon, namespace, 80)?;
    Ok(daemon)
}

/// aiosmtpd on 2001:db8:12:34::2; mail ends in the folder `mail`.
fn mail(namespace: &Namespace) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let folder = directory.path().join("mail");
    let command = namespace
        .cmd("/usr/bin/python3")
        .args("-m aiosmtpd -n -l 2001:db8:12:34::2:25 -c aiosmtpd.handlers.Mailbox")
        .arg(folder.display().to_string());
    let mut daemon = Daemon::start("aiosmtpd", &command, directory)?;
    listening(&mut daemon, namespace, 25)?;
    Ok(daemon)
}

/// vsftpd with anonymous down- and uploads on one address. It is told nothing about translation: what it says about itself
/// inside of the protocol is its own address.
fn ftp(namespace: &Namespace, address: &str) -> Result<Daemon, LabError> {
    let directory = directory()?;
    let root = directory.path().to_owned();
    let shared = share(&root)?;
    let listen = match address.parse() {
        Ok(IpAddr::V6(_)) => format!("listen=NO\nlisten_ipv6=YES\nlisten_address6={address}"),
        _ => format!("listen=YES\nlisten_ipv6=NO\nlisten_address={address}"),
    };
    let text = format!(
        "{listen}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nno_anon_password=YES\nwrite_enable=YES\n\
         anon_upload_enable=YES\nanon_umask=022\nanon_root={}\nsecure_chroot_dir={}\nconnect_from_port_20=YES\n\
         seccomp_sandbox=NO\nisolate_network=NO\nxferlog_enable=YES\nvsftpd_log_file={}\ndual_log_enable=NO\n\
         log_ftp_protocol=YES\nxferlog_std_format=NO\n",
        shared.display(),
        root.join("empty").display(),
        root.join("ftp.log").display(),
    );
    fs::create_dir(root.join("empty")).map_err(LabError::io("empty"))?;
    let file = write(root.join("vsftpd.conf"), &text)?;
    let command = namespace.cmd("vsftpd").arg(file.display().to_string());
    let mut daemon = Daemon::start("vsftpd", &command, directory)?;
    let place = if address.contains(':') { format!("[{address}]:21 ") } else { format!("{address}:21 ") };
    let list = namespace.cmd("ss").args("-Hltn");
    daemon.wait_for("listening", |_| list.ok().is_ok_and(|output| output.stdout.contains(&place)))?;
    Ok(daemon)
}

/// What anonymous users see: nothing may be written but in `incoming`, and everything on the way must be open to them.
fn share(root: &Path) -> Result<PathBuf, LabError> {
    use std::os::unix::fs::{PermissionsExt, chown};
    let shared = root.join("share");
    let incoming = shared.join("incoming");
    fs::create_dir_all(&incoming).map_err(LabError::io("share"))?;
    fs::write(shared.join("large"), large()).map_err(LabError::io("large"))?;
    for path in [root, &shared] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(LabError::io("share"))?;
    }
    let user = nix::unistd::User::from_name("ftp").ok().flatten();
    let id = user.map(|user| user.uid.as_raw());
    chown(&incoming, id, None).map_err(LabError::io("incoming"))?;
    Ok(shared)
}

fn listening(daemon: &mut Daemon, namespace: &Namespace, port: u16) -> Result<(), LabError> {
    let list = namespace.cmd("ss").args("-Hltn");
    let port = format!(":{port} ");
    daemon.wait_for("listening", |_| list.ok().is_ok_and(|output| output.stdout.contains(&port)))
}
