//! stub
use std::{path::Path, sync::Arc, time::Instant, io};
pub struct Symbols;
impl Symbols { pub fn open(_p:&Path)->io::Result<Self>{Ok(Self)} pub fn resolve(&mut self,_a:&[u64],_n:Instant){} pub fn name(&self,a:u64)->Arc<str>{format!("{a:x}").into()}}
