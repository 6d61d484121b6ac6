//! The attribute `#[etcd_sim::test]`, documented there.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, ItemFn, Token, parse_macro_input};

/// The settings that may stand in the attribute: methods of `etcd_sim::Builder` with one
/// argument.
const SETTINGS: [&str; 16] = [
    "members",
    "seed",
    "seeds",
    "faults",
    "plan",
    "clients",
    "lasts",
    "endpoints",
    "timeout",
    "time_limit",
    "messages_max",
    "polls_max",
    "catches_panics",
    "executor",
    "bug",
    "observer",
];

/// A test that is run in a simulation, for each of its seeds; see `etcd_sim::test`.
#[proc_macro_attribute]
pub fn test(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let settings =
        parse_macro_input!(attribute with Punctuated::<Setting, Token![,]>::parse_terminated);
    let function = parse_macro_input!(item as ItemFn);
    expand(&settings, function)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// `members = 3`.
struct Setting {
    name: Ident,
    value: Expr,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        if !SETTINGS.iter().any(|known| name == known) {
            let known = SETTINGS.join(", ");
            let message = format!("there is no setting `{name}`; there are: {known}");
            return Err(Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        Ok(Setting {
            name,
            value: input.parse()?,
        })
    }
}

/// A setting that stands there twice, or beside one that says the same.
fn refuse_twice(settings: &Punctuated<Setting, Token![,]>) -> syn::Result<()> {
    let mut said = Vec::new();
    for Setting { name, .. } in settings {
        let what = name.to_string();
        let same = match &*what {
            "seeds" => "seed",
            other => other,
        }
        .to_owned();
        if let Some((before, _)) = said.iter().find(|(_, before)| *before == same) {
            let message = if *before == what {
                format!("`{what}` is set twice: which of them is meant?")
            } else {
                format!("`{before}` and `{what}` are both set: which of them is meant?")
            };
            return Err(Error::new(name.span(), message));
        }
        said.push((what, same));
    }
    Ok(())
}

fn expand(settings: &Punctuated<Setting, Token![,]>, mut function: ItemFn) -> syn::Result<Tokens> {
    refuse_twice(settings)?;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        let message = "a simulated test is an `async fn`";
        return Err(Error::new_spanned(signature.fn_token, message));
    }
    if signature.inputs.len() != 1 || signature.receiver().is_some() {
        let message = "a simulated test takes one argument: `simulation: etcd_sim::Simulation`";
        return Err(Error::new_spanned(&signature.inputs, message));
    }
    if !signature.generics.params.is_empty() {
        let message = "a test has no generic parameters";
        return Err(Error::new_spanned(&signature.generics, message));
    }
    let attributes = std::mem::take(&mut function.attrs);
    let visibility = std::mem::replace(&mut function.vis, syn::Visibility::Inherited);
    let name = signature.ident.clone();
    let text = name.to_string();
    let settings = settings
        .iter()
        .map(|Setting { name, value }| quote!(.#name(#value)));
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attributes)*
        #visibility fn #name() {
            #function
            ::etcd_sim::Simulation::builder()
                #(#settings)*
                .test(::etcd_sim::harness::TestName::new(
                    ::core::env!("CARGO_PKG_NAME"),
                    ::core::module_path!(),
                    #text,
                    ::core::file!(),
                    ::core::option_env!("CARGO_TARGET_TMPDIR").is_some(),
                    ::core::option_env!("CARGO_BIN_NAME"),
                ))
                .check(#name);
        }
    })
}

#[cfg(test)]
mod tests {
    // All but the attribute that is called `test` too.
    use super::{Punctuated, Setting, Token, expand};
    use syn::parse::Parser as _;

    /// Why this attribute is refused; none where it is not.
    fn refused(attribute: &str) -> Option<String> {
        let parser = Punctuated::<Setting, Token![,]>::parse_terminated;
        let function = "async fn a_test(simulation: Simulation) {}";
        let function = syn::parse_str(function).expect("it is a function");
        let expanded = parser.parse_str(attribute);
        let expanded = expanded.and_then(|settings| expand(&settings, function));
        expanded.err().map(|error| error.to_string())
    }

    #[test]
    fn each_setting_stands_there_once() {
        assert_eq!(refused(""), None);
        assert_eq!(refused("seeds = 3, members = 3, clients = 3"), None);
        let twice = refused("seeds = 3, members = 3, seeds = 4").unwrap();
        assert!(twice.contains("`seeds` is set twice"), "{twice}");
        let both = refused("seed = 3, seeds = 4").unwrap();
        assert!(both.contains("`seed` and `seeds` are both set"), "{both}");
        let unknown = refused("sedes = 3").unwrap();
        assert!(unknown.contains("there is no setting `sedes`"), "{unknown}");
    }
}
