//! What a path leads to.

use super::routes::{Page, Routes, board_name, is_board};
use crate::proto::paths::chain::{self, Chain};
use crate::proto::paths::report::Report;

/// Where an accepted connection's messages go.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Back.
    Echo,
    /// To the other members of the board of this name.
    Board(String),
    /// Wherever the program has them go.
    Program(Box<Plan>),
}

/// What the path of a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What the path asks for.
    pub chain: Chain,
    /// What it sends of the request, if it does.
    pub report: Option<Report>,
}

impl Place {
    /// The chain of steps that is served there.
    pub fn chain(&self) -> Option<&Chain> {
        match self {
            Place::Program(plan) => Some(&plan.chain),
            Place::Echo | Place::Board(_) => None,
        }
    }
}

pub fn page_of(path: &str, routes: &Routes) -> Option<Page> {
    match path {
        "/" => Some(Page::Test),
        "/board" if routes.boards => Some(Page::Board),
        chain::ROOT if routes.test_paths => Some(Page::Paths),
        _ if routes.boards && board_name(path).is_some() => Some(Page::Board),
        _ => None,
    }
}

pub fn place_of(path: &str, routes: &Routes) -> Option<Place> {
    if routes.boards && is_board(path) {
        return board_name(path).map(|name| Place::Board(name.to_owned()));
    }
    routes.echo_paths.hold(path).then_some(Place::Echo)
}
