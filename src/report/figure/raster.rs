//! SVG to PNG, with a font of its own: the picture is the same on every machine, also on one without fonts.

use std::sync::{Arc, OnceLock};

use resvg::{tiny_skia, usvg};
use thiserror::Error;

/// Subsets of DejaVu Sans for Latin text; licence beside them.
const FONTS: [&[u8]; 2] = [
    include_bytes!("../../../data/fonts/DejaVuSans-subset.ttf"),
    include_bytes!("../../../data/fonts/DejaVuSans-Bold-subset.ttf"),
];

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum RasterError {
    /// Our own SVG was refused.
    #[error("cannot draw the figure: {0}")]
    Svg(#[from] usvg::Error),
    /// A picture of that size cannot be.
    #[error("a picture of {0} x {1} pixels cannot be made")]
    Size(u32, u32),
    /// The picture could not be packed.
    #[error("cannot pack the picture: {0}")]
    Png(String),
}

/// The figure as PNG, `scale` pixels for each CSS pixel.
///
/// # Errors
/// [`RasterError`].
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>, RasterError> {
    static FONT_DATABASE: OnceLock<Arc<usvg::fontdb::Database>> = OnceLock::new();
    let fonts = FONT_DATABASE.get_or_init(|| {
        let mut database = usvg::fontdb::Database::new();
        FONTS.iter().for_each(|font| database.load_font_data(font.to_vec()));
        database.set_sans_serif_family("DejaVu Sans");
        Arc::new(database)
    });
    let options = usvg::Options {
        fontdb: Arc::clone(fonts),
        font_family: "DejaVu Sans".to_owned(),
        ..usvg::Options::default()
    };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size();
    let (w, h) = ((size.width() * scale).ceil() as u32, (size.height() * scale).ceil() as u32);
    let mut picture = tiny_skia::Pixmap::new(w, h).ok_or(RasterError::Size(w, h))?;
    resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().map_err(|e| RasterError::Png(e.to_string()))
}
