//! What our pictures share: a page 960 wide with a title, drawn as SVG. Lengths in its units.

/// Where a diagram begins, and how wide it is.
pub const LEFT: f64 = 60.0;
pub const WIDTH: f64 = 860.0;

/// The head of a page; what is drawn comes behind it, then [`END`]. `title` is text without markup.
pub fn begin(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"960\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>\n"
    )
}

pub const END: &str = "</svg>\n";

/// A horizontal line over the diagram's width.
pub fn across(y: f64, colour: &str) -> String {
    let right = LEFT + WIDTH;
    format!("<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"{colour}\"/>\n")
}
