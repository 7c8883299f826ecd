//! `strait store`: verifies, backs up and restores a data directory that no server uses.
//!
//! Results go to stdout, one line each (`--json`: one JSON object each); progress and errors go
//! to stderr. Exit codes: 0 fine, 1 mistakes found or the work failed, 2 usage.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::store::archive::{self, ArchiveError, Contents};
use crate::store::check::check;
use crate::store::disk::{Disk, EngineName};
use crate::store::key_file::KeyError;
use crate::store::kv::Kv;
use crate::store::lock::DataLock;
use crate::store::package_files::PackageFiles;
use crate::store::seal::Sealer;

use crate::store::{StoreError, StoreSettings, migrate};

/// Arguments of `strait store`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Walk every row and print every mistake
    Check(Place),
    /// Write everything to one portable file
    Export {
        #[command(flatten)]
        place: Place,
        /// The file to write; an older one is replaced when the new one is complete
        file: PathBuf,
    },
    /// Fill an empty data directory from an exported file
    Import {
        #[command(flatten)]
        place: Place,
        /// The file to read
        file: PathBuf,
        /// What keeps the rows
        #[arg(long, value_enum, default_value_t = DurableEngine::Sled)]
        engine: DurableEngine,
    },
}

/// Engines that an archive may go into.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum DurableEngine {
    Sled,
    Fjall,
}

impl From<DurableEngine> for EngineName {
    fn from(engine: DurableEngine) -> Self {
        match engine {
            DurableEngine::Sled => Self::Sled,
            DurableEngine::Fjall => Self::Fjall,
        }
    }
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data: PathBuf,
    /// The file with the sealing key [default: sealing.key in the data directory]
    #[arg(long, value_name = "FILE")]
    sealing_key: Option<PathBuf>,
    /// Print JSON, one object a line
    #[arg(long)]
    json: bool,
}

impl Place {
    fn store(&self) -> PathBuf {
        self.data.join("store")
    }

    fn package_files(&self) -> PackageFiles {
        PackageFiles::of(&self.data)
    }

    fn key(&self) -> PathBuf {
        let key = self.sealing_key.clone();
        key.unwrap_or_else(|| StoreSettings::default().key_path(&self.data))
    }
}

/// Why the work failed: one line for stderr.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path}: {source}")]
    Archive { path: String, source: ArchiveError },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{path} holds no database; --data names the data directory")]
    NoDatabase { path: String },
    #[error("{path} is not empty; an archive goes into a new data directory")]
    NotEmpty { path: String },
    #[error("stdout: {0}")]
    Print(#[from] io::Error),
}

impl Failure {
    fn file(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        |source| Self::File {
            path: path.display().to_string(),
            source,
        }
    }

    fn archive(path: &Path) -> impl Fn(ArchiveError) -> Self + Copy + '_ {
        |source| Self::Archive {
            path: path.display().to_string(),
            source,
        }
    }
}

/// Runs `strait store`.
pub fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Check(place) => run_check(&place),
        Command::Export { place, file } => run_export(&place, &file),
        Command::Import {
            place,
            file,
            engine,
        } => run_import(&place, &file, engine.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            // When stderr is closed, too, the exit code alone tells.
            drop(writeln!(io::stderr(), "error: {e}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was wrong.
fn run_check(place: &Place) -> Result<bool, Failure> {
    let engine = Existing::open(place)?;
    let sealer = key_for_check(place, &engine.rows)?;
    let progress = Progress::new("checked", None);
    let mut out = io::stdout().lock();
    let mut printed = Ok(());
    let totals = check(
        &engine.rows,
        sealer.as_ref(),
        &place.package_files(),
        &mut |totals| progress.set(totals.rows),
        &mut |mistake| {
            let line = if place.json {
                json!({"row": mistake.row, "mistake": mistake.what}).to_string()
            } else {
                format!("{}: {}", mistake.row, mistake.what)
            };
            if printed.is_ok() {
                printed = progress.above(|| writeln!(out, "{line}"));
            }
        },
    )?;
    progress.finish();
    printed?;
    let sound = totals.mistakes == 0;
    let text = format!(
        "{} rows, {} bytes, {} mistakes",
        totals.rows, totals.bytes, totals.mistakes
    );
    let fields = json!({
        "rows": totals.rows, "bytes": totals.bytes, "mistakes": totals.mistakes, "sound": sound,
        "opened": sealer.is_some()
    });
    tell(&mut out, place.json, &text, &fields)?;
    Ok(sound)
}

/// The key that opens the database; `None`: there is no key file, and stderr says so.
fn key_for_check(place: &Place, engine: &Disk) -> Result<Option<Sealer>, Failure> {
    let path = place.key();
    let Some(check) = migrate::seal_check(engine)? else {
        return Ok(None);
    };
    let Some(sealer) = Sealer::read(&path)? else {
        hint(&format!(
            "sealed values stay closed: there is no {}; --sealing-key names the key",
            path.display()
        ));
        return Ok(None);
    };
    sealer.must_fit(&engine.place(), check)?;
    Ok(Some(sealer))
}

/// Says which key the archive needs.
fn tell_key(place: &Place, contents: &Contents) {
    let (path, devices) = (place.key(), contents.devices);
    let Some(check) = contents.seal_check else {
        hint(&format!(
            "the secrets of {devices} devices lie in this archive in the open: keep it safe"
        ));
        return;
    };
    let fits = Sealer::read(&path).is_ok_and(|sealer| {
        let sealer = sealer.as_ref().map(Sealer::check_value);
        sealer == Some(check)
    });
    let key = if fits {
        path.display().to_string()
    } else {
        format!(
            "the server's sealing key (store.sealing_key; it is not in {})",
            path.display()
        )
    };
    hint(&format!(
        "keep a copy of {key}, apart from the archive: without it the secrets of {devices} devices \
         can't be read"
    ));
}

/// One line for whoever watches; when stderr is closed, nobody does.
fn hint(line: &str) {
    drop(writeln!(io::stderr(), "{line}"));
}

fn run_export(place: &Place, file: &Path) -> Result<bool, Failure> {
    let engine = Existing::open(place)?;
    let part = with_suffix(file, ".part");
    // It holds the secrets of devices.
    let out = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .map_err(Failure::file(&part))?;
    let progress = Progress::new("exported", None);
    let mut buffered = BufWriter::new(&out);
    let contents = archive::export(
        &engine.rows,
        &place.package_files(),
        &mut buffered,
        &mut |rows| progress.set(rows),
    )
    .map_err(Failure::archive(&part))?;
    drop(buffered);
    progress.finish();
    out.sync_all().map_err(Failure::file(&part))?;
    fs::rename(&part, file).map_err(Failure::file(file))?;
    let parent = file.parent().filter(|parent| *parent != Path::new(""));
    File::open(parent.unwrap_or_else(|| Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(Failure::file(file))?;
    let bytes = out.metadata().map_err(Failure::file(file))?.len();
    let rows = contents.rows;
    let mut text = format!("{rows} rows, ");
    if contents.files > 0 {
        text.push_str(&format!("{} files of packages, ", contents.files));
    }
    text.push_str(&format!("{bytes} bytes in {}", file.display()));
    let fields = json!({
        "rows": rows, "files": contents.files, "left_out": contents.left_out.len(),
        "bytes": bytes, "file": file.display().to_string()
    });
    tell(&mut io::stdout().lock(), place.json, &text, &fields)?;
    for left_out in &contents.left_out {
        hint(&format!(
            "a file of a package is not in the archive: {left_out}"
        ));
    }
    tell_key(place, &contents);
    Ok(contents.left_out.is_empty())
}

fn run_import(place: &Place, file: &Path, engine: EngineName) -> Result<bool, Failure> {
    let dir = place.store();
    let open = || {
        File::open(file)
            .map(BufReader::new)
            .map_err(Failure::file(file))
    };
    // Read to the checksum before anything is written.
    let progress = Progress::new("verified", None);
    let contents = archive::verify(&mut open()?, &mut |rows| progress.set(rows))
        .map_err(Failure::archive(file))?;
    progress.finish();
    let (key, archive) = (place.key(), file.display().to_string());
    let fitting = contents
        .seal_check
        .map(|check| Sealer::read_fitting(&key, &archive, check));
    let fitting = fitting.transpose()?;
    let _lock = DataLock::hold(&place.data)?;
    let used = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return Err(Failure::NotEmpty {
            path: dir.display().to_string(),
        });
    }
    let sealer = match fitting {
        Some(sealer) => sealer,
        None => Sealer::open_or_create(&key, &archive, None)?,
    };
    let engine = Disk::open(&dir, &on(engine))?;
    let progress = Progress::new("imported", Some(contents.rows));
    let files = place.package_files();
    let rows = archive::import(&engine, &files, &mut open()?, &mut |rows| {
        progress.set(rows)
    })
    .map_err(Failure::archive(file))?;
    progress.finish();
    migrate::migrate(&engine, &sealer)?;
    engine.close();
    let text = format!("{rows} rows into {}", dir.display());
    let fields = json!({"rows": rows, "directory": dir.display().to_string()});
    tell(&mut io::stdout().lock(), place.json, &text, &fields)?;
    if place.sealing_key.is_some() {
        hint(&format!(
            "the server needs its key: store.sealing_key = {:?}",
            key.display().to_string()
        ));
    }
    Ok(true)
}

fn on(engine: EngineName) -> StoreSettings {
    StoreSettings {
        engine,
        ..StoreSettings::default()
    }
}

/// The database of a data directory, locked; none is created.
struct Existing {
    rows: Disk,
    _lock: DataLock,
}

impl Existing {
    fn open(place: &Place) -> Result<Self, Failure> {
        let dir = place.store();
        let Some(engine) = Disk::found(&dir) else {
            return Err(Failure::NoDatabase {
                path: dir.display().to_string(),
            });
        };
        let lock = DataLock::hold(&place.data)?;
        let rows = Disk::open(&dir, &on(engine))?;
        Ok(Self { rows, _lock: lock })
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn tell(out: &mut dyn Write, as_json: bool, text: &str, fields: &Value) -> io::Result<()> {
    if as_json {
        writeln!(out, "{fields}")
    } else {
        writeln!(out, "{text}")
    }
}

/// A bar or a counter on a terminal, a line now and then otherwise; on stderr.
struct Progress {
    bar: ProgressBar,
    what: &'static str,
    plain: bool,
    next_line: Cell<u64>,
}

/// Rows between two plain lines.
const LINE_EVERY: u64 = 250_000;

impl Progress {
    fn new(what: &'static str, total: Option<u64>) -> Self {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg} {wide_bar} {human_pos}/{human_len} rows, {eta} left",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {msg} {human_pos} rows, {per_sec}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self {
            bar,
            what,
            plain: !io::stderr().is_terminal(),
            next_line: Cell::new(LINE_EVERY),
        }
    }

    fn set(&self, rows: u64) {
        self.bar.set_position(rows);
        if self.plain && rows >= self.next_line.get() {
            self.next_line.set(rows.saturating_add(LINE_EVERY));
            drop(writeln!(io::stderr(), "{} {rows} rows", self.what));
        }
    }

    /// Prints without tearing the bar.
    fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
