//! `shell`: one recipe by hand, command by command.
//!
//! - `input`: lines from a terminal, with editing, or from a pipe;
//! - `command`: what a line says, and what can be wrong with it;
//! - `text`: values as text;
//! - `recipe`: what all recipes of the shell have in common, and one file for
//!   each of them.

mod barrier;
mod command;
mod cyclic_barrier;
mod double_barrier;
mod election;
mod input;
mod lock;
mod priority_queue;
mod queue;
mod recipe;
mod reliable_queue;
mod rw_lock;
mod stm;
mod text;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use etcd_client::Client;
use etcd_recipes::session::{Session, SessionOptions};

use self::command::{Line, Problem};
use self::input::{Given, Input};
use self::recipe::{Kind, Recipe};
use crate::connection::{Access, Connection};
use crate::exit_code::Status;
use crate::failure::Failure;
use crate::interrupt::{Signal, Signals};
use crate::output::{self, FAINT};

const EXAMPLES: &str = "\
Examples, each for two terminals:
  etcd-recipes shell lock --name jobs            lock, in the other: lock; then here: unlock
  etcd-recipes shell queue --name jobs           push 'clean up', in the other: pop
  etcd-recipes shell barrier --name start        hold, in the other: wait; then here: release
  etcd-recipes shell double-barrier --name all --count 2     enter, in both
  etcd-recipes shell election --name boss        campaign me, in the other: observe
  etcd-recipes shell stm                         put a 100, put b 0, commit, transfer a b 30
  printf 'push a\\npop\\n' | etcd-recipes shell queue --name jobs --endpoints 10.0.0.1:2379

Programs that use the recipes, in Rust or in Go, take part under the same name.
`help` lists the commands of a recipe. Ctrl-C ends a wait and stays in the
shell; `quit`, `exit` or the end of the input leaves it, and frees what it holds.
Results go to standard output, one a line, everything else to standard error.
";

/// Try a recipe by hand.
///
/// Reads commands line by line, from a terminal or a pipe, and does them on a
/// real etcd, so that a primitive can be learned in two terminals.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Shell {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    recipe: Kind,

    /// The recipe's name: who gives the same one shares it. For stm: keep to
    /// keys below NAME/ [stm can do without]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How many take part [double-barrier and cyclic-barrier need it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    /// What this shell holds is freed so many seconds after it was killed
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    ttl: u64,

    #[command(flatten)]
    connection: Connection,
}

/// What a recipe is opened with.
struct Place {
    kind: Kind,
    name: String,
    count: Option<usize>,
    ttl: Duration,
    client: Client,
}

/// A recipe that is open, and the session that it works in, if it needs one.
struct Opened {
    session: Option<Session>,
    recipe: Box<dyn Recipe>,
}

impl Shell {
    pub(crate) fn run(self) -> anyhow::Result<Status> {
        let access = self.connection.access()?;
        let what = What::new(self.recipe, self.name, self.count)?;
        let ttl = Duration::from_secs(self.ttl);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start")?;
        runtime.block_on(converse(what, ttl, &access))
    }
}

/// The options that name a recipe, once they are known to fit together.
struct What {
    kind: Kind,
    name: String,
    count: Option<usize>,
}

impl What {
    fn new(kind: Kind, name: Option<String>, count: Option<u32>) -> Result<Self, Failure> {
        let recipe = kind
            .to_possible_value()
            .map_or(String::new(), |value| value.get_name().to_owned());
        let name = match name {
            Some(name) => name,
            None if kind == Kind::Stm => String::new(),
            None => {
                return Err(Failure::usage(format!("which {recipe}? it needs a name"))
                    .hint("Give one, such as --name jobs; who gives the same one shares it."));
            }
        };
        if count.is_none() && kind.needs_count() {
            return Err(
                Failure::usage(format!("how many take part in the {recipe}?"))
                    .hint("Say so with --count N; all who take part give the same number."),
            );
        }
        if count.is_some() && !kind.needs_count() {
            return Err(
                Failure::usage(format!("--count means nothing to the recipe {recipe}"))
                    .hint("Leave it out."),
            );
        }
        let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        Ok(What { kind, name, count })
    }
}

async fn converse(what: What, ttl: Duration, access: &Access) -> anyhow::Result<Status> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let place = Place {
        kind: what.kind,
        name: what.name,
        count: what.count,
        ttl,
        client: access.client().await?,
    };
    let mut opened = match place.open().await {
        Ok(opened) => opened,
        Err(error) if error.is_invalid_name() || error.is_invalid_option() => {
            return Err(Failure::usage(error).into());
        }
        Err(error) => return Err(Failure::cluster(error).into()),
    };
    let mut input = Input::new().context("cannot read from the terminal")?;
    if input.is_terminal() {
        output::note(format_args!(
            "{FAINT}etcd at {access}; `help` lists the commands, `quit` leaves{FAINT:#}"
        ));
    }
    let ended = read_and_do(&place, &mut opened, &mut input, &mut signals).await;
    opened.close().await;
    ended.map(|()| Status::Valid)
}

/// Until there is nothing more to read, or the process is told to end.
async fn read_and_do(
    place: &Place,
    opened: &mut Opened,
    input: &mut Input,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    loop {
        let given = match first(input.next(place.kind.prompt()), signals.next()).await {
            First::Left(given) => given?,
            First::Right(Signal::Interrupt) => {
                output::note("nothing waits here; `quit` leaves");
                continue;
            }
            First::Right(Signal::Terminate) => return Ok(()),
        };
        let line = match given {
            Given::Line(line) => line,
            Given::NoText => {
                output::note("the line is not UTF-8 text; nothing was done");
                continue;
            }
            Given::Interrupted => continue,
            Given::End => return Ok(()),
        };
        let line = match Line::parse(&line) {
            Ok(Some(line)) => line,
            Ok(None) => continue,
            Err(problem) => {
                problem.tell(opened.recipe.commands());
                continue;
            }
        };
        match line.parts() {
            ("quit" | "exit", []) => return Ok(()),
            ("help", _) => output::note(command::help(opened.recipe.commands())),
            _ => {
                opened.renew_if_lost(place).await;
                match first(opened.recipe.run(&line), signals.next()).await {
                    First::Left(Ok(())) => {}
                    First::Left(Err(Problem::Output(error))) => return Err(error),
                    First::Left(Err(problem)) => problem.tell(opened.recipe.commands()),
                    First::Right(Signal::Interrupt) => output::note("interrupted"),
                    First::Right(Signal::Terminate) => return Ok(()),
                }
            }
        }
    }
}

enum First<L, R> {
    Left(L),
    Right(R),
}

/// The first to finish; the other one is dropped.
async fn first<L, R>(left: impl Future<Output = L>, right: impl Future<Output = R>) -> First<L, R> {
    let (left, right) = (std::pin::pin!(left), std::pin::pin!(right));
    match futures_util::future::select(left, right).await {
        futures_util::future::Either::Left((left, _)) => First::Left(left),
        futures_util::future::Either::Right((right, _)) => First::Right(right),
    }
}

impl Place {
    async fn open(&self) -> Result<Opened, etcd_recipes::Error> {
        let session = match self.kind.needs_session() {
            true => {
                let options = SessionOptions::new().ttl(self.ttl);
                Some(Session::with_options(&self.client, options).await?)
            }
            false => None,
        };
        let recipe = match recipe::open(self, session.as_ref()) {
            Ok(recipe) => recipe,
            Err(error) => {
                if let Some(session) = session {
                    // It holds nothing, and ends by itself otherwise.
                    session.close().await.ok();
                }
                return Err(error);
            }
        };
        Ok(Opened { session, recipe })
    }
}

impl Opened {
    /// What was held is gone with the session; the shell goes on with a new one.
    async fn renew_if_lost(&mut self, place: &Place) {
        let Some(Err(lost)) = self.session.as_ref().map(Session::check) else {
            return;
        };
        match place.open().await {
            Ok(opened) => {
                output::warning(format_args!(
                    "{lost}; going on with a new session, which holds nothing"
                ));
                *self = opened;
            }
            Err(error) => {
                output::warning(format_args!("{lost}, and no new session begins: {error}"));
            }
        }
    }

    async fn close(self) {
        let Some(session) = self.session else {
            return;
        };
        if let Err(error) = session.close().await {
            output::warning(format_args!(
                "the session was not closed, and what it holds stays for its time to live: {error}"
            ));
        }
    }
}
