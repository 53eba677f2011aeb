//! A disk of its own, which can be frozen, filled and made to fail: a file with an ext4 in it, mounted.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::privilege::as_root;

/// A mounted disk. It goes with this.
#[derive(Debug)]
pub struct Disk {
    dir: TempDir,
    device: String,
}

impl Disk {
    /// A disk of so many bytes. Everybody may write to it. Fails where this machine has no loop devices.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("aimg-disk-").tempdir()?;
        let (image, mount) = (dir.path().join("image"), dir.path().join("disk"));
        File::create(&image)?.set_len(bytes)?;
        fs::create_dir(&mount)?;
        run(Command::new("/usr/sbin/mkfs.ext4").args(["-q", "-F", "-m", "0", "-O", "^has_journal"]).arg(&image))?;
        run(as_root("mount").args(["-o", "loop,errors=remount-ro"]).args([&image, &mount]))?;
        let mut disk = Self { dir, device: String::new() };
        run(as_root("chmod").arg("777").arg(&mount))?;
        let found = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(&mount).output()?;
        disk.device = String::from_utf8_lossy(&found.stdout).trim().trim_start_matches("/dev/").to_owned();
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Lets whoever writes wait, from here on until [`Disk::thaw`]; what is cached can be read.
    pub fn freeze(&self) -> io::Result<()> {
        run(as_root("/usr/sbin/fsfreeze").arg("-f").arg(self.path()))
    }

    /// Lets everybody go on.
    pub fn thaw(&self) -> io::Result<()> {
        run(as_root("/usr/sbin/fsfreeze").arg("-u").arg(self.path()))
    }

    /// Fills it to the last byte, with a file of another program.
    pub fn fill(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.filler())?;
        // The last pieces are smaller than a block.
        for piece in [1 << 20, 4_096, 1] {
            loop {
                match file.write_all(&vec![1; piece]).and_then(|()| file.sync_data()) {
                    Ok(()) => {}
                    Err(e) if e.kind() == io::ErrorKind::StorageFull => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Takes the other program's file away.
    pub fn make_room(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }

    /// Lets the kernel find an error in the file system, upon which it makes it read-only.
    pub fn break_down(&self) -> io::Result<()> {
        let trigger = format!("echo broken > /sys/fs/ext4/{}/trigger_fs_error", self.device);
        run(as_root("sh").args(["-c", &trigger]))
    }

    /// Mounts it anew, in order again; once only.
    pub fn mend(&self) -> io::Result<()> {
        run(as_root("sync").arg(format!("/dev/{}", self.device)))?;
        self.unmount()?;
        // A copy: an Asterisk that was started meanwhile has the broken one in its own mounts, and so the kernel keeps it.
        let [image, copy] = ["image", "mended"].map(|name| self.dir.path().join(name));
        fs::copy(image, &copy)?;
        // Its exit code is 1 where it has repaired something.
        Command::new("/usr/sbin/e2fsck").args(["-f", "-y"]).arg(&copy).output()?;
        run(as_root("mount").args(["-o", "loop,errors=remount-ro"]).args([&copy, &self.path()]))
    }

    fn unmount(&self) -> io::Result<()> {
        run(as_root("umount").arg(self.path()))
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Frozen, it would stay for ever.
        let _ = self.thaw();
        if self.unmount().is_err() {
            let _ = run(as_root("umount").arg("-l").arg(self.path()));
        }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let ended = command.output()?;
    if ended.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim())))
}
