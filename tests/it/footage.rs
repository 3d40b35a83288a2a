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
    /// What becomes of the pictures before they are encoded: filters, each after a comma.
    pub filters: &'static str,
    /// A source of sound.
    pub sound: Option<&'static str>,
    /// Options of the encoder and the muxer, with spaces between.
    pub options: String,
}

/// The encoder of most cameras.
pub const X264: &str = "-c:v libx264 -preset veryfast -threads 1 -sc_threshold 0";

impl Default for Footage {
    fn default() -> Self {
        Self {
            first: 0,
            frames: 150,
            rate: "30",
            size: (320, 180),
            filters: "",
            sound: None,
            options: format!("{X264} -bf 0 -g 60"),
        }
    }
}

impl Footage {
    /// The file, drawn unless an earlier test has.
    pub fn file(&self) -> PathBuf {
        let Self { first, frames, rate, size: (width, height), filters, sound, options } = self;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("footage");
        std::fs::create_dir_all(&folder).expect("a folder for footage");
        let recipe = format!("{self:?}");
        let path = folder.join(format!("{first}-{:x}.mp4", hash(recipe.as_bytes())));
        if !path.exists() {
            let partial =
                tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).expect("a file").into_temp_path();
            let block = width / BITS;
            let graph = format!(
                "color=s={BITS}x1:r={rate},format=gray,geq=lum='255*mod(floor((N+{first})/pow(2,{}-X)),2)',\
                 scale={}:{block}:flags=neighbor,format=yuv420p[row];\
                 testsrc2=s={width}x{height}:r={rate},noise=alls=12:allf=t:all_seed=7[sea];\
                 [sea][row]overlay=0:0,format=yuv420p,trim=end_frame={frames}{filters}",
                BITS - 1,
                block * BITS
            );
            let mut draw = Command::new("ffmpeg");
            draw.args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", &graph]);
            if let Some(sound) = sound {
                draw.args(["-f", "lavfi", "-i", sound, "-c:a", "aac", "-shortest"]);
            }
            let status = draw
                .args(options.split(' '))
                .arg(&*partial)
                .status()
                .expect("Debian's ffmpeg, which `make install` installs");
            assert!(status.success(), "drawing {recipe}: {status}");
            partial.persist(&path).expect("moved into place");
        }
        path
    }
}

/// Names a recipe; a clash would show as wrong numbers.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hasher::write(&mut hasher, bytes);
    std::hash::Hasher::finish(&hasher)
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
    decoded(video, &["-map", "0:v:0", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo"])
}

/// What our ffmpeg makes of a file, without a complaint, by these options of the output.
pub fn decoded(file: &Path, options: &[&str]) -> Vec<u8> {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let output = Command::new(ffmpeg())
        .args(["-nostdin", "-y", "-v", "error", "-xerror", "-noautorotate", "-i"])
        .arg(file)
        .args(options)
        .arg(raw.path())
        .stdin(Stdio::null())
        .output()
        .expect("our ffmpeg runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{}, {options:?}: {complaints}", file.display());
    std::fs::read(raw.path()).expect("readable")
}

/// The luma of the row that says `number`, of a picture that wide; all of the row's height, and of its width.
pub fn draw(number: u32, width: usize) -> Vec<u8> {
    let block = width / BITS;
    let line = (0..width).map(|x| match x / block {
        bit if bit < BITS => 16 + 219 * u8::try_from(number >> (BITS - 1 - bit) & 1).expect("a bit"),
        _ => 128,
    });
    line.collect::<Vec<u8>>().repeat(block)
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
