//! A source file as the rules look at it: its production code without tests, as tokens, paths
//! and functions.
//!
//! Knows no rule. A file is test code as a whole if it is named so or declared under
//! `#[cfg(test)]`; elsewhere the items under `#[cfg(test)]` are left out.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::Visit;
use syn::{Attribute, ImplItem, Item, UseTree};

/// One file.
pub(crate) struct Source {
    /// From the package's root, with slashes: `src/mqtt/types.rs`.
    pub(crate) path: String,
    /// All of it.
    pub(crate) text: String,
    /// Whether all of it is test code: then everything below is empty.
    pub(crate) is_test: bool,
    /// How many lines are not test code.
    pub(crate) lines: usize,
    /// The production code, groups flattened into their delimiters.
    pub(crate) tokens: Vec<Token>,
    /// Every function of the production code.
    pub(crate) functions: Vec<Function>,
    /// Every path of two or more segments that the production code names, and all that `use`
    /// brings in. The first segment is a crate: `crate::x`, `super::x` and `self::x` are resolved.
    pub(crate) paths: Vec<Named>,
    /// Every module that is declared.
    pub(crate) modules: Vec<Named>,
}

/// One token.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A name, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// A function with its body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// A rule that is broken somewhere.
pub(crate) struct Breach {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl Source {
    /// Reads production code.
    pub(crate) fn parse(path: &str, text: &str) -> Source {
        let mut file = syn::parse_file(text)
            .unwrap_or_else(|e| panic!("{path}:{}: not Rust: {e}", e.span().start().line));
        let tests = remove_tests(&mut file.items);
        let mut found = Found::default();
        found.visit_file(&file);
        let mut tokens = Vec::new();
        flatten(file.to_token_stream(), &mut tokens);
        let module = module_of(path);
        let mut paths = found.used;
        paths.extend(paths_of(&tokens));
        for named in &mut paths {
            named.name = absolute(&named.name, &module);
        }
        paths.sort();
        paths.dedup(); // a `use` without braces is found both ways
        Source {
            path: path.into(),
            text: text.into(),
            is_test: false,
            lines: text.lines().count() - tests,
            tokens,
            functions: found.functions,
            paths,
            modules: found.modules,
        }
    }

    fn test(path: &str, text: &str) -> Source {
        let empty = Source::parse(path, "");
        Source { is_test: true, text: text.into(), ..empty }
    }

    /// Something wrong in this file.
    pub(crate) fn breach(&self, line: usize, what: impl Into<String>) -> Breach {
        Breach { path: self.path.clone(), line, what: what.into() }
    }
}

/// Every `.rs` file of the package and of the simulator, by path. What keeps these rules is no
/// part of it: its samples break them.
pub(crate) fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeSet::new();
    for folder in ["src", "sim/src", "tests", "sim/tests"] {
        walk(&root.join(folder), &mut files);
    }
    let read = |file: &PathBuf| {
        let path = file.strip_prefix(root).expect("was found below the root");
        let path = path.to_string_lossy().replace('\\', "/");
        (path, fs::read_to_string(file).expect("a source file is text"))
    };
    let texts: Vec<(String, String)> = files.iter().map(read).collect();
    let test_modules: Vec<String> =
        texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &str| {
        let in_tests = path.split('/').any(|part| part == "tests" || part == "tests.rs");
        in_tests || test_modules.iter().any(|module| path.starts_with(module.as_str()))
    };
    let source = |(path, text): &(String, String)| {
        if is_test(path) { Source::test(path, text) } else { Source::parse(path, text) }
    };
    texts.iter().filter(|(path, _)| !path.starts_with("tests/architecture")).map(source).collect()
}

fn walk(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
}

/// The beginnings of the paths of modules that are declared under `#[cfg(test)]`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let Ok(file) = syn::parse_file(text) else { return Vec::new() };
    let (folder, name) = path.rsplit_once('/').expect("every source is in a folder");
    let below = match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let declared = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if is_for_tests(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    });
    declared
        .flat_map(|module| [format!("{below}/{module}.rs"), format!("{below}/{module}/")])
        .collect()
}

/// Removes items under `#[cfg(test)]`; how many lines they had.
fn remove_tests(items: &mut Vec<Item>) -> usize {
    let mut lines = 0;
    items.retain(|item| {
        let keep = !is_for_tests(attributes(item));
        lines += if keep { 0 } else { lines_of(item) };
        keep
    });
    for item in items {
        match item {
            Item::Mod(module) => {
                let content = module.content.as_mut();
                lines += content.map_or(0, |(_, items)| remove_tests(items));
            }
            Item::Impl(block) => block.items.retain(|item| {
                let ImplItem::Fn(function) = item else { return true };
                let keep = !is_for_tests(&function.attrs);
                lines += if keep { 0 } else { lines_of(function) };
                keep
            }),
            _ => {}
        }
    }
    lines
}

fn lines_of(item: &impl Spanned) -> usize {
    let span = item.span();
    span.end().line + 1 - span.start().line
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.meta.to_token_stream().to_string().replace(' ', "");
        text == "test" || text == "cfg(test)"
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// What is found by syntax rather than by tokens.
#[derive(Default)]
struct Found {
    functions: Vec<Function>,
    used: Vec<Named>,
    modules: Vec<Named>,
}

impl Found {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line + 1 - line;
        self.functions.push(Function { name: signature.ident.to_string(), line, lines });
    }

    fn uses(&mut self, tree: &UseTree, before: &str) {
        let joined = |name: &dyn ToString| match before {
            "" => name.to_string(),
            _ => format!("{before}::{}", name.to_string()),
        };
        let name = match tree {
            UseTree::Path(path) => return self.uses(&path.tree, &joined(&path.ident)),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.uses(tree, before));
            }
            UseTree::Name(name) if name.ident == "self" => before.to_owned(),
            UseTree::Name(name) => joined(&name.ident),
            UseTree::Rename(rename) => joined(&rename.ident),
            UseTree::Glob(_) => joined(&"*"),
        };
        self.used.push(Named { name, line: tree.span().start().line });
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        item.default.iter().for_each(|body| self.function(&item.sig, body));
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.uses(&item.tree, "");
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let line = item.ident.span().start().line;
        self.modules.push(Named { name: item.ident.to_string(), line });
        syn::visit::visit_item_mod(self, item);
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.into(), line });
                flatten(group.stream(), tokens);
                let line = group.span_close().end().line;
                tokens.push(Token { text: close.into(), line });
            }
            other => tokens.push(Token { text: other.to_string(), line }),
        }
    }
}

/// The paths that stand in the tokens, those inside macro calls too.
fn paths_of(tokens: &[Token]) -> Vec<Named> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let is_name = |at| text(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut name = text(at).to_owned();
        while is_name(at) && text(at + 1) == ":" && text(at + 2) == ":" && is_name(at + 3) {
            at += 3;
            name = format!("{name}::{}", text(at));
        }
        if at > start {
            paths.push(Named { name, line: tokens[start].line });
        }
        at += 1;
    }
    paths
}

/// The module that a file holds: `stormpetrel::mqtt::types`.
fn module_of(path: &str) -> String {
    let (package, rest) = match path.strip_prefix("sim/src/") {
        Some(rest) => ("stormpetrel_sim", rest),
        None => ("stormpetrel", path.strip_prefix("src/").unwrap_or(path)),
    };
    let rest = rest.trim_end_matches(".rs");
    let rest = rest.strip_suffix("/mod").unwrap_or(rest);
    match rest {
        "lib" | "main" => package.to_owned(),
        _ => format!("{package}::{}", rest.replace('/', "::")),
    }
}

/// `path` as it is named from the crates' roots. Modules inside a file count as that file.
fn absolute(path: &str, module: &str) -> String {
    if let Some(rest) = path.strip_prefix("crate::") {
        let package = module.split("::").next().unwrap_or(module);
        return format!("{package}::{rest}");
    }
    let (mut module, mut rest) = (module, path);
    while let Some((first @ ("self" | "super"), behind)) = rest.split_once("::") {
        if first == "super" {
            module = module.rsplit_once("::").map_or(module, |(above, _)| above);
        }
        rest = behind;
    }
    if rest.len() == path.len() { path.to_owned() } else { format!("{module}::{rest}") }
}

#[test]
fn tests_are_no_production_code() {
    let text = "//! x\nfn a() {\n}\n#[cfg(test)]\nmod tests {\n fn b() { x::y(); }\n}\n";
    let source = Source::parse("src/a.rs", text);
    assert_eq!((source.lines, source.functions.len(), source.paths.len()), (3, 1, 0));
    assert_eq!(test_modules("src/a/mod.rs", "#[cfg(test)] mod b;"), ["src/a/b.rs", "src/a/b/"]);
    assert_eq!(test_modules("src/a.rs", "#[cfg(test)] mod b; mod c;").len(), 2);
}

#[test]
fn paths_are_resolved_wherever_they_stand() {
    let text = "use super::{b::C, d as e};\nfn f() { m!(crate::x::y()); self::z::Z }\nuse std::{self, fs::*};";
    let source = Source::parse("src/mqtt/a.rs", text);
    let mut found: Vec<_> = source.paths.iter().map(|p| (p.name.as_str(), p.line)).collect();
    found.sort();
    let want = [
        ("std", 3),
        ("std::fs::*", 3),
        ("stormpetrel::mqtt::a::z::Z", 2),
        ("stormpetrel::mqtt::b::C", 1),
        ("stormpetrel::mqtt::d", 1),
        ("stormpetrel::x::y", 2),
    ];
    for each in want {
        assert!(found.contains(&each), "{each:?} in {found:?}");
    }
}
