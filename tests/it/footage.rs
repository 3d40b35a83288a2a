//! Footage whose frames can be read back by number: a row of 24 black and white blocks, the most significant bit first,
//! at the top left of each picture. Drawn by Debian's ffmpeg, read by ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Blocks in the row, one a bit.
const BITS: usize = 24;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Footage {
    /// The number of the first frame.
    pub first: u32,
    pub frames: u32,
    pub rate: &'static str,
    pub size: (usize, usize),
    /// Options of the encoder and the muxer.
    pub options: Vec<&'static str>,
}

impl Default for Footage {
    fn default() -> Self {
        Self {
            first: 0,
            frames: 150,
            rate: "30",
            size: (320, 180),
            options: vec!["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "60", "-sc_threshold", "0"],
        }
    }
}

impl Footage {
    /// The file, drawn unless an earlier test has.
    pub fn file(&self) -> PathBuf {
        let Self { first, frames, rate, size: (width, height), options } = self;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("footage");
        std::fs::create_dir_all(&folder).expect("a folder for footage");
        let name: String = format!("{first}-{frames}-{rate}-{width}x{height}-{}", options.join("_"))
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' })
            .collect();
        let path = folder.join(format!("{name}.mp4"));
        if !path.exists() {
            let partial =
                tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).expect("a file").into_temp_path();
            let block = width / BITS;
            let graph = format!(
                "color=s={BITS}x1:r={rate},format=gray,geq=lum='255*mod(floor((N+{first})/pow(2,{}-X)),2)',\
                 scale={}:{block}:flags=neighbor,format=yuv420p[row];\
                 testsrc2=s={width}x{height}:r={rate},noise=alls=12:allf=t:all_seed=7[sea];[sea][row]overlay=0:0,format=yuv420p",
                BITS - 1,
                block * BITS
            );
            let status = Command::new("ffmpeg")
                .args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", &graph, "-frames:v", &frames.to_string()])
                .args(options)
                .arg(&*partial)
                .status()
                .expect("Debian's ffmpeg, which `make install` installs");
            assert!(status.success(), "drawing {name}: {status}");
            partial.persist(&path).expect("moved into place");
        }
        path
    }
}

/// Our own ffmpeg.
pub fn ffmpeg() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layers/ffmpeg/opt/bin/ffmpeg");
    assert!(path.exists(), "{} is missing: run `make test`, which builds it", path.display());
    path
}

/// The number of each frame of a video of that width and height, in the order in which they are shown.
pub fn numbers(video: &Path, (width, height): (usize, usize)) -> Vec<u32> {
    let picture = width * height;
    gray(video).chunks_exact(picture).map(|picture| number(picture, width)).collect()
}

/// All pictures of a video, 8 bits of luma a pixel, decoded without a complaint.
pub fn gray(video: &Path) -> Vec<u8> {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let output = Command::new(ffmpeg())
        .args(["-nostdin", "-y", "-v", "error", "-xerror", "-noautorotate", "-i"])
        .arg(video)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo"])
        .arg(raw.path())
        .stdin(Stdio::null())
        .output()
        .expect("our ffmpeg runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", video.display());
    std::fs::read(raw.path()).expect("readable")
}

/// The number that stands in a picture.
pub fn number(picture: &[u8], width: usize) -> u32 {
    let block = width / BITS;
    (0..BITS).fold(0, |number, bit| {
        let center = picture[block / 2 * width + bit * block + block / 2];
        assert!(!(70..=185).contains(&center), "block {bit} is neither black nor white, but {center}");
        number << 1 | u32::from(center > 127)
    })
}
