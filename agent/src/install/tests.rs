mod acls;
mod audit;
mod behaviour;
mod faults;
mod file_exists;
mod filesystems;
mod groups;
mod world;
